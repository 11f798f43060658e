"""Export a network as a traced graph with its weights: no pickle, no code from this project."""

import torch
from torch import Tensor, nn


def exported_program(
    network: nn.Module, example: Tensor, *, any_size: bool = False
) -> torch.export.ExportedProgram:
    """Trace ``network`` in evaluation mode, for batches of up to 1024.

    Args:
        example: an input (B, …), B ≥ 2; with B = 1, the batch size would be traced as a constant.
        any_size: also for images (B, C, H, W) of any height and width.

    Raises:
        Exception: any of several torch errors, if the network's control flow depends on its input.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    free = {0: batch}
    if any_size:
        free |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    return torch.export.export(network.eval(), (example,), dynamic_shapes=(free,))
