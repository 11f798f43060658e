"""TransMix: CutMix with the reversed batch, and the label from a recorded attention."""

import torch
import torch.nn.functional as F

from saliencymixplus.mixing.boxes import box_around, box_mask, box_sides
from saliencymixplus.mixing.methods import transmix
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = tensor(case, "images"), tensor(case, "labels"), tensor(case, "perm")
    height, width = images.shape[2:]
    smoothing, lam0 = float(case["smoothing"]), tensor(case, "lam0")
    soft = F.one_hot(labels, 10) * (1.0 - smoothing) + smoothing / 10
    equal(perm, torch.arange(len(labels)).flip(0).numpy(), "the reversed batch")
    if int(case["use_cutmix"]):
        sides = box_sides(lam0, height, width)
        box = box_around(tensor(case, "centre")[None], sides, height, width, "halves")
        equal(box[0], case["box"], "box")
        mask = box_mask(box, height, width)
        mixed = torch.where(mask, images[perm], images)
        grid = int(case["patch_grid"])
        lam = transmix.attention_label(tensor(case, "attention"), mask, (grid, grid))
        close(lam, case["lam"], "lam")
        area = 1.0 - mask.float().mean()
        close(area * soft + (1 - area) * soft[perm], case["target_area"], "target_area")
        target = lam[:, None] * soft + (1 - lam[:, None]) * soft[perm]
    else:
        mixed = lam0.float() * images + (1 - lam0.float()) * images[perm]
        target = lam0 * soft + (1 - lam0) * soft[perm]
    close(mixed, case["mixed"], "mixed")
    close(target, case["target"], "target")
