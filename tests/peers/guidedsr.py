"""Guided-SR: spectral-residual map, greedy order, weights, mixed batch and label."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.batch import Batch
from saliencymixplus.mixing.methods.guidedsr import saliency_maps
from tests.peers.common import Case, close, tensor
from tests.peers.guided import check_guided


def check(case: Case) -> None:
    options = mixing.create("guidedsr", variant="published").options
    batch = Batch(tensor(case, "images"), tensor(case, "labels"))
    maps = saliency_maps(batch, options)
    # A constant image's map is about 35, the others' below 1.
    close(maps, case["saliency"], "saliency", rtol=1e-6)
    for saliency in (None, tensor(case, "saliency")):
        check_guided(case, "guidedsr", saliency)
    assert torch.isfinite(maps).all()
