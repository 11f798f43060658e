"""SnapMix: class-activation maps, boxes, paste and the two label weights."""

import numpy as np
import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.snapmix import class_activation
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = tensor(case, "images"), tensor(case, "labels"), tensor(case, "perm")
    height, width = images.shape[2:]
    maps = class_activation(
        tensor(case, "features"),
        tensor(case, "fc_weight"),
        tensor(case, "fc_bias"),
        labels,
        (height, width),
    )
    recorded = "spm" if "spm" in case else "spm_nan"
    expected = tensor(case, recorded)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=0.0, equal_nan=True)
    draw = mixing.Draw(
        perm,
        tensor(case, "lam0"),
        lam1=tensor(case, "lam1"),
        centre=tensor(case, "centre_a")[None],
        # Any numbers that give the recorded pixel.
        uniform=(tensor(case, "centre_b")[None] + 0.5) / torch.tensor([height, width]),
    )
    mixed = mixing.create("snapmix-published")(images, labels, saliency=maps, draw=draw)
    assert mixed.boxes is not None
    assert mixed.source_boxes is not None
    area_a, area_b = (box_area(case[name]) for name in ("box_a", "box_b"))
    if area_a and area_b:  # else the recipe says that nothing was pasted
        equal(mixed.boxes[0], case["box_a"], "box_a")
        equal(mixed.source_boxes[0], case["box_b"], "box_b")
    close(mixed.images, case["mixed"], "mixed")
    close(mixed.lam, case["lam_a"], "lam_a")
    close(mixed.weight_b, case["lam_b"], "lam_b")
    equal(mixed.labels_b, case["labels_b"], "labels_b")


def box_area(box: np.ndarray) -> int:
    return int((box[2] - box[0]) * (box[3] - box[1]))
