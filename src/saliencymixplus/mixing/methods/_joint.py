"""Which input each cell of each output shows, for all outputs of a part of the batch at once.

Equation 4 of Co-Mixup (arXiv:2102.03065) adds up saliency, smoothness, and a penalty for inputs
that many outputs share. Like the authors' solver this one labels output by output, in four rounds.
It takes checkerboard descent on the device where theirs takes α-β swaps on the CPU.

Throughout: P parts of N inputs and as many outputs each, on n × m cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The paper's constants: smoothness, diversity, prior, threshold of the diversity.
BETA, GAMMA, ETA, TAU = 0.32, 1.0, 0.05, 0.83
_ROUNDS, _SWEEPS, _DISCOUNT = 4, 4, 5e-4


def input_costs(cells: Tensor, prior: Tensor) -> Tensor:
    """Cost (P, N, n, m) of showing each input in each cell.

    Args:
        cells: (P, N, n, m) saliency, with a sum of 1 in each input.
        prior: (P, N), how much of each input is wanted, with a sum of 1.
    """
    wanted = torch.log(prior + 1e-8)[:, :, None, None]
    return -cells - ETA / cells[0, 0].numel() * wanted


def salient_distance(saliency: Tensor, window: int = 8) -> Tensor:
    """L1 distances (P, N, N) in pixels between the most salient windows of maps (P, N, H, W)."""
    window = min(window, *saliency.shape[2:])
    means = F.avg_pool2d(saliency, window, 1)
    best = means.flatten(2).argmax(2)
    place = torch.stack((best // means.shape[3], best % means.shape[3]), 2).to(saliency.dtype)
    return torch.cdist(place, place, p=1)


def affinity(distance: Tensor, omega: float) -> Tensor:
    """How much the use of one input counts against the use of another, (P, N, N).

    Args:
        distance: (P, N, N) between the salient places of the inputs.
        omega: weight of the distances.
    """
    count = distance.shape[1]
    same = torch.eye(count, dtype=distance.dtype, device=distance.device)
    total = distance.sum((1, 2), keepdim=True)
    far = torch.where(total > 0, count * distance / total.clamp_min(1e-30), same)
    return (1.0 - omega) * same + omega * far


def objective(shares: Tensor, costs: Tensor, *, thresholded: bool = False) -> Tensor:
    """Objective (P,) of shares (P, N, n, m, N): output, row, column, input (equation 4).

    ``thresholded``: an input counts as shared only above the threshold τ, as in the solver.
    """
    cells = costs[0, 0].numel()
    data = (shares * costs.permute(0, 2, 3, 1)[:, None]).sum((1, 2, 3, 4))
    down, across = (shares.diff(dim=axis).square().sum((1, 2, 3, 4)) for axis in (2, 3))
    used = shares.sum((2, 3))
    others = used.sum(1, keepdim=True) - used
    if thresholded:
        others = torch.where(others > TAU * cells, others, 0.0)
    return data + BETA / cells / 2 * (down + across) + GAMMA / cells * (used * others).sum((1, 2))


def solve(costs: Tensor, closeness: Tensor, start: Tensor) -> Tensor:
    """Shares (P, N, n, m, N) of low objective; nothing waits for the device.

    Args:
        costs: (P, N, n, m), see ``input_costs``.
        closeness: (P, N, N), see ``affinity``.
        start: (P, N, n, m) int64, the input that each cell of each output shows at first.
    """
    count, cells = costs.shape[1], costs[0, 0].numel()
    gamma = GAMMA / cells
    shares, extra = _one_hot(start, costs), torch.zeros_like(closeness)
    for turn in range(_ROUNDS):
        for output in range(count):
            used = shares.sum((2, 3))  # (P, output, input)
            others = (used.sum(1) - used[:, output])[..., None]
            # The threshold selects before the distances apply, as in the released code.
            over = torch.where(closeness @ others > TAU * cells, others, 0.0)
            penalty = 2.0 * gamma * (closeness @ over)[..., 0] + gamma * extra[:, output]
            unary = costs + penalty[:, :, None, None]
            shares[:, output] = _labelled(unary, used[:, output], halves=turn > 0)
        if turn == _ROUNDS - 2:
            extra = _same_inputs(shares.sum((2, 3)))
    return shares


def _labelled(unary: Tensor, used: Tensor, *, halves: bool) -> Tensor:
    """Shares (P, n, m, N) of one output, by checkerboard descent over inputs and halves of two.

    Args:
        unary: (P, N, n, m) cost of each input; used: (P, N) cells of each input so far.
        halves: whether half of two inputs is a label too, for pairs of the three most used.
    """
    parts, count, height, width = unary.shape
    values = torch.eye(count, dtype=unary.dtype, device=unary.device).expand(parts, -1, -1)
    if halves and count > 1:
        first, second = _pairs(used.topk(min(3, count)).indices)
        both = (used.gather(1, first) > 0) & (used.gather(1, second) > 0)
        by_part = torch.arange(parts, device=unary.device)[:, None]
        mean = (unary[by_part, first] + unary[by_part, second]) / 2 - _DISCOUNT
        unary = torch.cat((unary, mean.masked_fill(~both[:, :, None, None], torch.inf)), 1)
        half = (values[by_part, first] + values[by_part, second]) / 2
        values = torch.cat((values, half), 1)  # (P, labels, N)
    weight = BETA / (height * width) * _apart(values)
    costs = unary.permute(0, 2, 3, 1)[:, None]  # (P, 1, n, m, labels)
    rows, columns = (torch.arange(side, device=unary.device) for side in (height, width))
    colour = (rows[:, None] + columns) % 2
    which = torch.arange(parts, device=unary.device)
    # Three starts: each cell's cheapest label, the cheapest for all cells, one step from that.
    shared = costs.sum((1, 2, 3)).argmin(1)
    near_shared = (costs + 4 * weight[which, shared][:, None, None, None]).argmin(4)
    labels = torch.cat(
        (costs.argmin(4), shared[:, None, None, None].expand_as(near_shared), near_shared), 1
    )
    for step in range(2 * _SWEEPS):
        cheapest = (costs + _around(weight, labels)).argmin(4)
        labels = torch.where(colour == step % 2, cheapest, labels)
    paid = (costs + _around(weight, labels) / 2).gather(4, labels[..., None]).sum((2, 3, 4))
    best = labels[which, paid.argmin(1)]
    return values[which[:, None, None], best]


def _pairs(top: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second of each pair among two or three inputs (P, 2 or 3)."""
    if top.shape[1] == 2:
        return top[:, :1], top[:, 1:]
    first, second, third = top.unbind(1)
    return torch.stack((first, first, second), 1), torch.stack((second, third, third), 1)


def _apart(values: Tensor) -> Tensor:
    """What unequal labels of neighbours cost, (P, labels, labels): ¼ between a half and one of its
    inputs, else 1. ``values`` (P, labels, N) are the labels as shares."""
    top = values.amax(2)
    kin = (values @ values.mT > 0) & (top[:, :, None] != top[:, None])
    unequal = 1.0 - torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
    return torch.where(kin, 0.25, unequal)


def _around(weight: Tensor, labels: Tensor) -> Tensor:
    """What each label would pay for its four neighbours, (P, starts, n, m, labels)."""
    which = torch.arange(len(weight), device=weight.device)[:, None, None, None]
    near = F.pad(weight[which, labels], (0, 0, 1, 1, 1, 1))
    rows = near[:, :, :-2, 1:-1] + near[:, :, 2:, 1:-1]
    return rows + near[:, :, 1:-1, :-2] + near[:, :, 1:-1, 2:]


def _same_inputs(used: Tensor) -> Tensor:
    """Extra costs (P, N, N) that make equal outputs differ: of two that show the same inputs, more
    than one, the earlier pays for its first input and the later for its second."""
    shown = used > 0
    several = shown.sum(2) > 1
    same = (shown[:, :, None] == shown[:, None]).all(3) & several[:, :, None] & several[:, None]
    earlier, later = same.triu(1).any(2), same.triu(1).any(1)
    order = shown.cumsum(2) * shown
    extra = ((order == 1) & earlier[..., None]) | ((order == 2) & later[..., None])
    return extra.to(used.dtype)


def _one_hot(index: Tensor, costs: Tensor) -> Tensor:
    """(P, N, n, m, N) in the dtype of ``costs``. Not F.one_hot, which reads values on the CPU."""
    return (index[..., None] == torch.arange(costs.shape[1], device=index.device)).to(costs.dtype)


def mix(images: Tensor, shares: Tensor) -> Tensor:
    """Outputs (P, N, C, H, W) from inputs (P, N, C, H, W) and shares (P, N, n, m, N) of them."""
    rows, columns = (images.shape[3 + axis] // shares.shape[2 + axis] for axis in (0, 1))
    tiles = images.unflatten(4, (-1, columns)).unflatten(3, (-1, rows))  # (P, N, C, n, h, m, w)
    return torch.einsum("poxyi,picxhyw->pocxhyw", shares, tiles).flatten(5).flatten(3, 4)


def label_shares(shares: Tensor) -> Tensor:
    """Share (P, N, N) of each input in the label of each output."""
    used = shares.sum((2, 3))
    return used / used.sum(2, keepdim=True)
