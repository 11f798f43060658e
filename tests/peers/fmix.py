"""FMix: low-frequency noise from given normal numbers, mask and mixed batch."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.fmix import low_frequency
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    decay, normals = float(case["decay"]), tensor(case, "normals")
    mixer = mixing.create(
        "fmix", variant="published", decay=decay, max_soft=float(case["max_soft"])
    )
    coin = torch.stack((tensor(case, "coin"), tensor(case, "coin")), dim=1)
    draw = mixing.Draw(perm, tensor(case, "lam0"), uniform=coin, noise=normals)
    mixed = mixer(images, labels, draw=draw)
    grey = low_frequency(normals, *images.shape[2:], decay, two_rows=True)
    grey = grey - grey.amin((1, 2), keepdim=True)
    close(grey / grey.amax((1, 2), keepdim=True), case["low_frequency"], "low frequency noise")
    assert mixed.mask is not None
    close(1.0 - mixed.mask[0, 0], case["mask"], "mask")
    close(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
