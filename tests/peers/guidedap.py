"""Guided-AP: map from a recorded gradient, greedy order, weights, mixed batch and label."""

from saliencymixplus.mixing.saliency import root_mean_square
from tests.peers.common import Case, close, tensor
from tests.peers.guided import check_guided


def check(case: Case) -> None:
    if "gradient" in case:
        saliency = root_mean_square(tensor(case, "gradient"))
        close(saliency, case["saliency"], "saliency")
        check_guided(case, "guidedap", saliency)
    check_guided(case, "guidedap", tensor(case, "saliency"))
