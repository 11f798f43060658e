"""Guided-SR: spectral-residual map, greedy order, weights, mixed batch and label."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.guidedsr import saliency_maps
from tests.peers.common import Case, close, tensor
from tests.peers.guided import check_guided


def check(case: Case) -> None:
    mixer = mixing.create("guidedsr", variant="published")
    maps = saliency_maps(tensor(case, "images"), mixer.choice)
    # A constant image's map is about 35, the others' below 1.
    close(maps, case["saliency"], "saliency", atol=1e-6, rtol=1e-6)
    for saliency in (None, tensor(case, "saliency")):
        check_guided(case, "guidedsr", saliency)
    assert torch.isfinite(maps).all()
