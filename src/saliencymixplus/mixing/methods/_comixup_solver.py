"""Co-Mixup's solver: which input each cell of each output shows.

The objective, equation 4 of Co-Mixup (arXiv:2102.03065), is the sum of saliency, smoothness, and a
penalty for inputs that many outputs share. Like the authors' solver, this one labels one output
after another, in four rounds, but by checkerboard descent on the device instead of α-β swaps on the
CPU.

In all shapes, P is the number of parts of the batch; each has N inputs and N outputs of n × m
cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# The paper's constants: smoothness, diversity, prior, threshold of the diversity.
BETA, GAMMA, ETA, TAU = 0.32, 1.0, 0.05, 0.83
_ROUNDS, _SWEEPS, _DISCOUNT = 4, 4, 5e-4
_WINDOW = 8  # side in pixels of the windows whose saliency is compared


def input_costs(cells: Tensor, prior: Tensor) -> Tensor:
    """The cost (P, N, n, m) of showing each input in each cell.

    Args:
        cells: (P, N, n, m) saliency with a sum of 1 for each input.
        prior: (P, N), the wanted fraction of each input, with a sum of 1.
    """
    wanted = torch.log(prior + 1e-8)[:, :, None, None]
    return -cells - ETA / cells[0, 0].numel() * wanted


def salient_distance(saliency: Tensor) -> Tensor:
    """L1 distances (P, N, N) in pixels between the most salient windows of maps (P, N, H, W)."""
    means = F.avg_pool2d(saliency, min(_WINDOW, *saliency.shape[2:]), 1)
    best = means.flatten(2).argmax(2)
    place = torch.stack((best // means.shape[3], best % means.shape[3]), 2).to(saliency.dtype)
    return torch.cdist(place, place, p=1)


def affinity(distance: Tensor, omega: float) -> Tensor:
    """How much using one input counts as using another in the diversity penalty, (P, N, N).

    Args:
        distance: (P, N, N), see ``salient_distance``.
        omega: weight of the distances.
    """
    count = distance.shape[1]
    same = torch.eye(count, dtype=distance.dtype, device=distance.device)
    total = distance.sum((1, 2), keepdim=True)
    far = torch.where(total > 0, count * distance / total.clamp_min(1e-30), same)
    return (1.0 - omega) * same + omega * far


def solve(costs: Tensor, closeness: Tensor, start: Tensor) -> Tensor:
    """Minimise the objective approximately, without waiting for the device.

    Args:
        costs: (P, N, n, m), see ``input_costs``.
        closeness: (P, N, N), see ``affinity``.
        start: (P, N, n, m) int64, the input that each cell of each output shows at first.

    Returns:
        The share of each input in each cell of each output, (P, N, n, m, N).
    """
    count, cells = costs.shape[1], costs[0, 0].numel()
    gamma = GAMMA / cells
    shares, extra = _one_hot(start, costs), torch.zeros_like(closeness)
    for turn in range(_ROUNDS):
        for output in range(count):
            used = shares.sum((2, 3))  # (P, output, input)
            others = (used.sum(1) - used[:, output])[..., None]
            # The threshold applies before the distances, as in the released code.
            over = torch.where(closeness @ others > TAU * cells, others, 0.0)
            penalty = 2.0 * gamma * (closeness @ over)[..., 0] + gamma * extra[:, output]
            unary = costs + penalty[:, :, None, None]
            shares[:, output] = _labelled(unary, used[:, output], halves=turn > 0)
        if turn == _ROUNDS - 2:
            extra = _same_inputs(shares.sum((2, 3)))
    return shares


def _labelled(unary: Tensor, used: Tensor, *, halves: bool) -> Tensor:
    """Shares (P, n, m, N) for one output by checkerboard descent.

    ``unary`` (P, N, n, m) is the cost of each input, ``used`` (P, N) the number of cells that show
    it so far. ``halves`` also allows half of each of two inputs, of the three most used ones.
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
    # Three starting points: each cell's cheapest label, the cheapest common label of all cells, and
    # one step of descent from the latter.
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
    """The first and the second input of each pair of two or three inputs (P, 2 or 3)."""
    if top.shape[1] == 2:
        return top[:, :1], top[:, 1:]
    first, second, third = top.unbind(1)
    return torch.stack((first, first, second), 1), torch.stack((second, third, third), 1)


def _apart(values: Tensor) -> Tensor:
    """The cost of unequal labels of neighbours, (P, labels, labels): ¼ between a half-half label
    and one of its inputs, otherwise 1. ``values`` (P, labels, N) are the shares of each label."""
    top = values.amax(2)
    kin = (values @ values.mT > 0) & (top[:, :, None] != top[:, None])
    unequal = 1.0 - torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
    return torch.where(kin, 0.25, unequal)


def _around(weight: Tensor, labels: Tensor) -> Tensor:
    """The cost of each label next to its four neighbours, (P, starts, n, m, labels)."""
    which = torch.arange(len(weight), device=weight.device)[:, None, None, None]
    near = F.pad(weight[which, labels], (0, 0, 1, 1, 1, 1))
    rows = near[:, :, :-2, 1:-1] + near[:, :, 2:, 1:-1]
    return rows + near[:, :, 1:-1, :-2] + near[:, :, 1:-1, 2:]


def _same_inputs(used: Tensor) -> Tensor:
    """Extra costs (P, N, N) that make equal outputs differ.

    If two outputs show the same inputs, at least two, the earlier output pays for the first of
    them and the later one for the second.
    """
    shown = used > 0
    several = shown.sum(2) > 1
    same = (shown[:, :, None] == shown[:, None]).all(3) & several[:, :, None] & several[:, None]
    earlier, later = same.triu(1).any(2), same.triu(1).any(1)
    order = shown.cumsum(2) * shown
    extra = ((order == 1) & earlier[..., None]) | ((order == 2) & later[..., None])
    return extra.to(used.dtype)


def _one_hot(index: Tensor, costs: Tensor) -> Tensor:
    """One-hot (P, N, n, m, N) in the dtype of ``costs``."""
    # Not F.one_hot, which reads the values on the CPU.
    return (index[..., None] == torch.arange(costs.shape[1], device=index.device)).to(costs.dtype)


def mix(images: Tensor, shares: Tensor) -> Tensor:
    """Outputs (P, N, C, H, W) from inputs (P, N, C, H, W) and their shares (P, N, n, m, N)."""
    rows, columns = (images.shape[3 + axis] // shares.shape[2 + axis] for axis in (0, 1))
    tiles = images.unflatten(4, (-1, columns)).unflatten(3, (-1, rows))  # (P, N, C, n, h, m, w)
    return torch.einsum("poxyi,picxhyw->pocxhyw", shares, tiles).flatten(5).flatten(3, 4)


def label_weights(shares: Tensor) -> Tensor:
    """Weight (P, N, N) of each input's label in each output: the fraction that shows it."""
    used = shares.sum((2, 3))
    return used / used.sum(2, keepdim=True)
