"""ResizeMix: size, places, resized images, mixed batch, λ and loss."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.resizemix import nearest_into
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    rate = float(case["rate"])
    mixer = mixing.create("resizemix", variant="published", smallest=rate, largest=rate)
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    unused = torch.zeros(len(images), 2)
    any_lam0 = torch.tensor([0.5], dtype=torch.float64)
    draw = mixing.Draw(perm, any_lam0, centre=tensor(case, "centre"), uniform=unused)
    mixed = mixer(images, labels, draw=draw)
    height, width = case["small_size"].tolist()
    origin = torch.zeros(1, 2, dtype=torch.int64)
    small = nearest_into(images, origin, tensor(case, "rate"))[:, :, :height, :width]
    equal(small, case["small"], "resized images")
    assert mixed.boxes is not None
    equal(mixed.boxes, case["box"], "boxes")
    equal(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
    close(mixed.loss(tensor(case, "logits")), case["loss"], "loss", atol=1e-6)
