"""TransMix: CutMix for vision transformers, its label weighed by their attention.

Chen, Sun, He, Torr, Yuille and Bai, "TransMix: Attend to Mix for Vision Transformers", CVPR 2022
(arXiv:2111.09833): λ of equation 4 is what the class token attends to inside the box, averaged with
the box's area fraction as in the authors' code.
"""

import torch
from torch import Tensor


def attention_label(attention: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Label weight λ (M,) of the first image: 1 − ½ (area fraction + attended fraction).

    Args:
        attention: (M, R·C) of the mixed images: the class token's over the patches.
        mask: (M or 1, 1, H, W), true inside the box.
        grid: (R, C), how many patches. A patch is inside where its top-left pixel is.
    """
    height, width = mask.shape[2:]
    rows = torch.arange(grid[0], device=mask.device) * height // grid[0]
    columns = torch.arange(grid[1], device=mask.device) * width // grid[1]
    inside = mask[:, 0, rows][:, :, columns].flatten(1).to(attention.dtype)
    attended = (attention * inside).sum(1) / attention.sum(1)
    area = mask.to(attention.dtype).mean((1, 2, 3))
    return 1.0 - 0.5 * (area + torch.where(attended.isfinite(), attended, area))
