"""Co-Mixup: costs, objectives, images and labels of a recorded solution, and our own objective."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus import mixing
from saliencymixplus.mixing.methods import _comixup_solver as solver
from saliencymixplus.mixing.methods.puzzlemix import pooled
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, saliency = (tensor(case, name) for name in ("images", "labels", "saliency"))
    count, part, grid = len(images), int(case["part"]), int(case["grid"])
    cells = pooled(saliency, grid)
    close(cells, case["pooled"], "pooled")
    distance = torch.zeros(count, count)
    if "place_distance" in case:  # without it the distances are left out
        distance = solver.salient_distance(saliency[None])[0]
        equal(distance, case["place_distance"], "place_distance")
    mixed, target = [], []
    one_hot = F.one_hot(labels, 10).float()
    noise = torch.zeros(count, 4 + grid * grid)
    for number, start in enumerate(range(0, count, part)):
        rows = slice(start, min(start + part, count))
        suffix = "" if "z" in case else f"_{number}"
        shares, prior = tensor(case, f"z{suffix}")[None], tensor(case, f"prior{suffix}")[None]
        init = tensor(case, f"init{suffix}").long()[None]
        costs = solver.input_costs(cells[None, rows], prior)
        for name, thresholded in (("objective", False), ("objective_thres", True)):
            recorded = np.atleast_1d(case[name])[number]
            found = objective(shares, costs, thresholded=thresholded)
            close(found, recorded, name, rtol=1e-5)
        mixed.append(solver.mix(images[None, rows], shares)[0])
        target.append(solver.label_weights(shares)[0] @ one_hot[rows])
        closeness = solver.affinity(distance[None, rows, rows], float(case["omega"]))
        check_objective(costs, closeness, init, shares)
        noise[rows] = numbers(prior, init)
    close(torch.cat(mixed), case["mixed"], "mixed")
    close(torch.cat(target), case["target"], "target")
    check_recipe(case, noise)


def objective(shares: Tensor, costs: Tensor, *, thresholded: bool) -> Tensor:
    """Objective (P,) of shares (P, N, n, m, N): output, row, column, input (equation 4).

    ``thresholded``: an input counts as shared only above the threshold τ, as in the solver.
    """
    cells = costs[0, 0].numel()
    data = (shares * costs.permute(0, 2, 3, 1)[:, None]).sum((1, 2, 3, 4))
    down, across = (shares.diff(dim=axis).square().sum((1, 2, 3, 4)) for axis in (2, 3))
    used = shares.sum((2, 3))
    others = used.sum(1, keepdim=True) - used
    if thresholded:
        others = torch.where(others > solver.TAU * cells, others, 0.0)
    smooth = solver.BETA / cells / 2 * (down + across)
    return data + smooth + solver.GAMMA / cells * (used * others).sum((1, 2))


def check_objective(costs: Tensor, closeness: Tensor, init: Tensor, recorded: Tensor) -> None:
    """Another solver gives another solution: ours must reach an objective like the recorded."""
    solved = solver.solve(costs, closeness, init)
    ours, theirs = (
        float(objective(shares, costs, thresholded=True)) for shares in (solved, recorded)
    )
    size = max(abs(theirs), abs(float((recorded * costs.permute(0, 2, 3, 1)[:, None]).sum())))
    assert ours <= theirs + 0.1 * size, f"objective {ours}, recorded {theirs}"
    assert torch.allclose(solved.sum(4), torch.ones(())), "each cell is shared out whole"


def numbers(prior: Tensor, init: Tensor) -> Tensor:
    """The normal numbers of a draw that give the prior (1, N) and the start (1, N, n, n)."""
    first = torch.zeros(prior.shape[1], 4)
    first[:, 0] = prior[0].sqrt()
    chance = (init[0].flatten(1) + 0.5) / init.shape[1]
    return torch.cat((first, torch.special.ndtri(chance)), dim=1)


def check_recipe(case: Case, noise: Tensor) -> None:
    """The recipe solves the recorded problem, and mixes images and labels by its solution."""
    images, labels, saliency = (tensor(case, name) for name in ("images", "labels", "saliency"))
    count, part, grid = len(images), int(case["part"]), int(case["grid"])
    mixer = mixing.create("comixup", grid=grid, part=part, omega=float(case["omega"]))
    draw = mixing.Draw(torch.arange(count), noise=noise)
    mixed = mixer(images, labels, saliency=saliency, draw=draw)
    assert mixed.weights is not None
    cells = pooled(saliency, grid)
    for number, start in enumerate(range(0, count, part)):
        rows = slice(start, min(start + part, count))
        suffix = "" if "z" in case else f"_{number}"
        costs = solver.input_costs(cells[None, rows], tensor(case, f"prior{suffix}")[None])
        distance = solver.salient_distance(saliency[None, rows])
        closeness = solver.affinity(distance, float(case["omega"]))
        shares = solver.solve(costs, closeness, tensor(case, f"init{suffix}").long()[None])
        close(mixed.images[rows], solver.mix(images[None, rows], shares)[0].numpy(), "recipe")
        weights = solver.label_weights(shares)[0]
        close(mixed.weights[rows, rows], weights.numpy(), "label weights")
    assert torch.equal(mixed.weights.sum(1).round(decimals=5), torch.ones(count))
