"""Shared checks of Guided-SR and Guided-AP, starting from the saliency maps."""

import torch
from torch import Tensor

from saliencymixplus import mixing
from saliencymixplus.mixing.maps import sum_to_one
from tests.peers.common import Case, close, equal, tensor


def check_guided(case: Case, method: str, saliency: Tensor | None) -> None:
    """``saliency`` (B, H, W) before the blur; None: the method's own."""
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    # The released code pairs at random by accident; greedy is what it means to do.
    for pairs, partners in (("permutation", perm), ("greedy", tensor(case, "perm_greedy"))):
        mixer = mixing.create(method, variant="published", pairs=pairs)
        draw = mixing.Draw(perm)
        mixed = mixer(images, labels, saliency=saliency, draw=draw)
        equal(mixed.index_b, partners.numpy(), f"partners ({pairs})")
        if torch.equal(partners.long(), perm):
            _recorded(case, mixed)


def _recorded(case: Case, mixed: mixing.MixedBatch) -> None:
    assert mixed.saliency is not None
    assert mixed.mask is not None
    normalised = sum_to_one(mixed.saliency, at_once=True)
    if "normalised" in case:
        close(normalised, case["normalised"], "normalised maps")
    apart = (normalised[:, None] - normalised).flatten(2).norm(dim=2)
    close(apart, case["distance"], "distances")
    close(1.0 - mixed.mask[:, 0], case["weight"], "weights")
    close(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
    close(mixed.soft_labels(case["target"].shape[1]), case["target"], "target")
