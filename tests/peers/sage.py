"""SAGE: blurred map, best offsets, mixed batch and label."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.saliency import absolute_mean
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    saliency, offsets = tensor(case, "saliency"), tensor(case, "offsets")
    if "gradient" in case:
        close(absolute_mean(tensor(case, "gradient")), case["saliency"], "saliency")
    height, width = images.shape[2:]
    every = (2 * height - 1) * (2 * width - 1)
    # The highest numbers are the offsets that are tried, in falling order.
    noise = torch.full((2 * height - 1, 2 * width - 1), -1.0)
    order = torch.arange(len(offsets), 0, -1).float()
    noise[offsets[:, 0] + height - 1, offsets[:, 1] + width - 1] = order
    mixer = mixing.create(
        "sage",
        variant="published",
        largest=float(case["upper"]),
        offsets=min(1.0, (len(offsets) + 0.5) / every),
    )
    draw = mixing.Draw(perm, tensor(case, "lam0"), noise=noise[None])
    mixed = mixer(images, labels, saliency=saliency, draw=draw)
    assert mixed.saliency is not None
    close(mixed.saliency, case["blurred"], "blurred map")
    assert mixed.boxes is not None
    assert mixed.source_boxes is not None
    equal((mixed.boxes - mixed.source_boxes)[:, :2], case["best_offset"], "best offsets")
    close(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
    close(mixed.soft_labels(case["target"].shape[1]), case["target"], "target")
