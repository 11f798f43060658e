"""SnapMix: class-activation maps, boxes, paste and the two label weights."""

import torch

from saliencymixplus.mixing.boxes import box_around, box_mask, box_sides
from saliencymixplus.mixing.methods import snapmix
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = tensor(case, "images"), tensor(case, "labels"), tensor(case, "perm")
    height, width = images.shape[2:]
    maps = snapmix.class_activation(
        tensor(case, "features"),
        tensor(case, "fc_weight"),
        tensor(case, "fc_bias"),
        labels,
        (height, width),
    )
    recorded = "spm" if "spm" in case else "spm_nan"
    expected = tensor(case, recorded)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=0.0, equal_nan=True)
    boxes = []
    for lam0, name in (("lam0", "a"), ("lam1", "b")):
        sides = box_sides(tensor(case, lam0), height, width)
        centre = tensor(case, f"centre_{name}")[None]
        boxes.append(box_around(centre, sides, height, width, "halves"))
        equal(boxes[-1][0], case[f"box_{name}"], f"box_{name}")
    box_a, box_b = boxes
    same = labels == labels[perm]
    lam_a, lam_b = snapmix.activation_labels(maps, maps[perm], box_a, box_b, same)
    mask = box_mask(box_a, height, width)
    shown = snapmix.not_empty(box_a) & snapmix.not_empty(box_b)
    mixed = torch.where(
        mask & shown[:, None, None, None],
        snapmix.crop_into(images[perm], box_b, box_a),
        images,
    )
    close(mixed, case["mixed"], "mixed")
    close(torch.where(shown, lam_a, 1.0), case["lam_a"], "lam_a")
    close(torch.where(shown, lam_b, 0.0), case["lam_b"], "lam_b")
    equal(labels[perm], case["labels_b"], "labels_b")
