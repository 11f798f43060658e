"""PuzzleMix: everything after the saliency map, and the mask by its energy."""

import numpy as np
import torch

from saliencymixplus.mixing import graph_cut
from saliencymixplus.mixing.methods import puzzlemix
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, perm, grid = tensor(case, "images"), tensor(case, "perm"), int(case["grid"])
    lam0, height, width = tensor(case, "lam0"), images.shape[2], images.shape[3]
    partner = images[perm]
    cells = puzzlemix.pooled(tensor(case, "saliency"), grid)
    close(cells, case["pooled"], "pooled")
    std = tensor(case, "std")[:, None, None]
    costs = puzzlemix.mask_costs(images, partner, cells, cells[perm], std)
    close(costs[0], case["cost_a_dropped"], "cost_a_dropped")
    close(costs[1], case["cost_b_dropped"], "cost_b_dropped")
    unary, edge_v, edge_h = puzzlemix.whole_costs(*costs, lam0)
    close(edge_v, case["edge_v"], "edge_v", atol=1.0)
    close(edge_h, case["edge_h"], "edge_h", atol=1.0)
    recorded_edges = [tensor(case, name).float() for name in ("edge_v", "edge_h")]
    if "unary_int" in case:
        close(unary, case["unary_int"], "unary_int", atol=1.0)
        unary = tensor(case, "unary_int").float()
        z = (2 - 2 * tensor(case, "z")).long()
        equal(graph_cut.energy(z, unary, *recorded_edges), case["energy"], "energy of z")
    least = tensor(case, "energy_exact")
    exact = graph_cut.energy(
        graph_cut.exact(unary, *recorded_edges), unary, *recorded_edges
    ).double()
    found = graph_cut.energy(
        graph_cut.minimise(unary, *recorded_edges), unary, *recorded_edges
    ).double()
    # Where the whole-number costs aren't recorded, each of ours may be off by one.
    rounding = 0.0 if "unary_int" in case else float(grid * grid)
    close(exact, least.numpy(), "the exact solver's energy", atol=rounding)
    if grid <= 4:
        equal(found, exact.numpy(), "energy on a small grid")
    assert (found <= exact + 0.01 * exact.abs()).all(), "energy more than 1 % above the minimum"
    _check_images(case, images, partner, height, width)


def _check_images(
    case: Case, images: torch.Tensor, partner: torch.Tensor, height: int, width: int
) -> None:
    """The transport and the images, given the recorded mask."""
    perm, share = tensor(case, "perm"), tensor(case, "z").float()
    close(share.mean((1, 2)), case["lam"], "lam")
    saliency, t_size = tensor(case, "saliency"), int(case["t_size"])
    side = puzzlemix.transport_side(height, width, int(case["grid"]), t_size)
    cells = puzzlemix.pooled(saliency, side)
    kept = puzzlemix.enlarged(share, side, side)
    source_a = puzzlemix.transport(cells, kept)
    source_b = puzzlemix.transport(cells[perm], 1.0 - kept)
    equal(source_a, case["source_a"], "source_a")
    equal(source_b, case["source_b"], "source_b")
    whole = puzzlemix.enlarged(share, height, width)[:, None]
    if "mixed_no_transport" in case:
        plain = whole * images + (1.0 - whole) * partner
        close(plain, case["mixed_no_transport"], "mixed_no_transport")
    mixed = whole * puzzlemix.moved(images, source_a)
    mixed = mixed + (1.0 - whole) * puzzlemix.moved(partner, source_b)
    close(mixed, case["mixed"], "mixed")
    one_hot = torch.nn.functional.one_hot(tensor(case, "labels"), 10).float()
    lam = tensor(case, "lam").float()[:, None]
    close(lam * one_hot + (1 - lam) * one_hot[perm], np.asarray(case["target"]), "target")
