"""TransMix: CutMix with the reversed batch, and the label from a recorded attention."""

import torch
import torch.nn.functional as F

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.transmix import attention_label
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = tensor(case, "images"), tensor(case, "labels"), tensor(case, "perm")
    smoothing, lam0 = float(case["smoothing"]), tensor(case, "lam0")
    soft = F.one_hot(labels, 10) * (1.0 - smoothing) + smoothing / 10
    equal(perm, torch.arange(len(labels)).flip(0).numpy(), "the reversed batch")
    if int(case["use_cutmix"]):
        draw = mixing.Draw(perm, lam0, centre=tensor(case, "centre")[None])
        batch = mixing.create("transmix-published")(images, labels, draw=draw)
        assert batch.boxes is not None
        assert batch.mask is not None
        equal(batch.boxes[0], case["box"], "box")
        equal(batch.index_b, case["perm"], "partners")
        mixed, grid = batch.images, int(case["patch_grid"])
        lam = attention_label(tensor(case, "attention"), batch.mask.bool(), (grid, grid))
        close(lam, case["lam"], "lam")
        area = batch.lam[:, None]
        close(area * soft + (1 - area) * soft[perm], case["target_area"], "target_area")
        target = lam[:, None] * soft + (1 - lam[:, None]) * soft[perm]
    else:  # the released recipe alternates with mixup
        batch = mixing.create("mixup")(images, labels, draw=mixing.Draw(perm, lam0))
        mixed, target = batch.images, lam0 * soft + (1 - lam0) * soft[perm]
    close(mixed, case["mixed"], "mixed")
    close(target, case["target"], "target")
