"""Labellings of a grid of cells that minimise unary and pairwise costs, for PuzzleMix.

Each cell takes a label 0, 1 or 2. The energy of an image is the sum of ``unary[cell, label]`` and,
over neighbouring cells, of ``edge · (label − label′)² / 4``. It is submodular, so a minimum cut
minimises it exactly (Kim, Choo and Song 2020, arXiv:2009.06962, section 3.2).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SWEEPS = 2
_STRIP = 4  # rows or columns of cells that one move labels together: 3⁴ = 81 states per line


def energy(labels: Tensor, unary: Tensor, edge_v: Tensor, edge_h: Tensor) -> Tensor:
    """Energy (B,) of labels (B, R, C) int64.

    Args:
        unary: (B, R, C, 3) cost of each label; edge_v: (B, R − 1, C); edge_h: (B, R, C − 1).
    """
    level = labels.to(unary.dtype)
    chosen = unary.gather(3, labels[..., None]).sum((1, 2, 3))
    vertical = (edge_v * (level[:, 1:] - level[:, :-1]).square()).sum((1, 2))
    horizontal = (edge_h * (level[:, :, 1:] - level[:, :, :-1]).square()).sum((1, 2))
    return chosen + (vertical + horizontal) / 4


def minimise(unary: Tensor, edge_v: Tensor, edge_h: Tensor) -> Tensor:
    """Labels (B, R, C) int64 of low energy, for all images at once without waiting for the device.

    Each move labels strips of four columns (or rows) optimally, given the cells beside them, by
    dynamic programming along the strips. With at most four columns, this is the exact minimum.
    Larger grids are swept in both directions, with the strips at two offsets; the energy never
    rises. For the arguments see ``energy``; ``exact`` is the oracle.
    """
    rows, columns = unary.shape[1:3]
    if columns <= _STRIP:
        return _label_strips(unary.argmin(3), unary, edge_v, edge_h, columns, 0, 0)
    # Two starting points, concatenated as one batch: each cell's own best label, and the best
    # common label of all cells, which suits strong edges better.
    shared = unary.sum((1, 2)).argmin(1)[:, None, None].expand(-1, rows, columns)
    labels = torch.cat((unary.argmin(3), shared))
    unary, edge_v, edge_h = (
        part.repeat(2, *[1] * (part.ndim - 1)) for part in (unary, edge_v, edge_h)
    )
    turned = unary.transpose(1, 2), edge_h.transpose(1, 2), edge_v.transpose(1, 2)
    for shift in (0, _STRIP // 2) * _SWEEPS:
        for parity in (0, 1):  # neighbouring strips must not change at the same time
            labels = _label_strips(labels, unary, edge_v, edge_h, _STRIP, shift, parity)
        for parity in (0, 1):
            labels = _label_strips(labels.mT, *turned, min(rows, _STRIP), shift, parity).mT
    first, second = energy(labels, unary, edge_v, edge_h).chunk(2)
    own, common = labels.chunk(2)
    return torch.where((first <= second)[:, None, None], own, common)


def exact(unary: Tensor, edge_v: Tensor, edge_h: Tensor) -> Tensor:
    """Labels (B, R, C) of minimum energy by SciPy's maximum flow, one image at a time.

    All costs must be whole numbers. Slow, and waits for the device; the oracle of ``minimise``.
    """
    parts = zip(unary.cpu(), edge_v.cpu(), edge_h.cpu(), strict=True)
    return torch.stack([_minimum_cut(*part) for part in parts]).to(unary.device)


def _label_strips(
    labels: Tensor,
    unary: Tensor,
    edge_v: Tensor,
    edge_h: Tensor,
    width: int,
    shift: int,
    parity: int,
) -> Tensor:
    """Relabel every second strip of ``width`` columns; the first strip ends at ``shift``."""
    rows, columns = labels.shape[1:]
    left = (width - shift) % width
    right = -(left + columns) % width
    # Pad the grid to whole strips with columns that cost nothing: (B, R, strips, width, …).
    shape = (*labels.shape[:2], (left + columns + right) // width, width)
    placed = F.pad(labels, (left, right)).reshape(shape)
    costs = F.pad(unary, (0, 0, left, right)).reshape(*shape, 3)
    down = F.pad(edge_v, (left, right)).reshape(shape[0], rows - 1, *shape[2:])
    across = F.pad(edge_h, (left, right + 1)).reshape(shape)
    level = torch.arange(3, device=labels.device)
    squared = (level[:, None] - level).square().to(unary.dtype) / 4  # (label, neighbour's label)
    joint = across[..., -1:]  # edge to the first cell of the next strip; 0 after the last
    to_right = joint * squared[placed[..., 0].roll(-1, 2)]
    to_left = joint.roll(1, 2) * squared[placed[..., -1].roll(1, 2)]
    ends = torch.arange(width, device=labels.device)
    costs = costs + torch.where((ends == width - 1)[:, None], to_right[..., None, :], 0.0)
    costs = costs + torch.where((ends == 0)[:, None], to_left[..., None, :], 0.0)
    mine = slice(parity, None, 2)
    best = _best_lines(costs[:, :, mine], down[:, :, mine], across[:, :, mine, :-1], squared)
    placed[:, :, mine] = best
    return placed.flatten(2)[:, :, left : left + columns]


def _best_lines(costs: Tensor, down: Tensor, across: Tensor, squared: Tensor) -> Tensor:
    """The best labels (B, R, N, W) of strips W cells wide, line by line along R."""
    width = costs.shape[3]
    states = torch.arange(3**width, device=costs.device)
    digits = torch.stack([states // 3**place % 3 for place in range(width)])  # (W, states)
    # Not F.one_hot, which reads the values on the CPU and so cannot be captured there.
    level = torch.arange(3, device=costs.device)
    chosen = (digits[:, None] == level[:, None]).flatten(0, 1).to(costs.dtype)
    line = costs.flatten(3) @ chosen  # (B, R, N, states): cost of each line alone
    line = line + across @ squared[digits[:-1], digits[1:]]
    step = squared[digits[:, :, None], digits[:, None, :]].flatten(1)  # (W, states · states)
    total, origins = line[:, 0], []
    for row in range(1, costs.shape[1]):
        change = (down[:, row - 1] @ step).unflatten(2, (len(states), len(states)))
        total, origin = (total[..., None] + change).min(2)
        total = total + line[:, row]
        origins.append(origin)
    state = total.argmin(2, keepdim=True)
    path = [state]
    for origin in reversed(origins):
        state = origin.gather(2, state)
        path.append(state)
    return digits.T[torch.stack(path[::-1], dim=1)[..., 0]]


def _minimum_cut(unary: Tensor, edge_v: Tensor, edge_h: Tensor) -> Tensor:
    """Labels (R, C) of one image.

    Node 2k of cell k is on the sink's side if the cell's label is 1 or 2, node 2k + 1 if it is 2;
    then (l − l′)² = |x₁ − y₁| + |x₂ − y₂| + 2·x₂(1 − y₁) + 2·y₂(1 − x₁).
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    rows, columns = unary.shape[:2]
    count = rows * columns
    first = np.arange(count).reshape(rows, columns) * 2
    source, sink = 2 * count, 2 * count + 1
    arcs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(tails: np.ndarray, heads: np.ndarray, capacity: np.ndarray) -> None:
        tails, heads, capacity = np.broadcast_arrays(tails, heads, capacity)
        arcs.append((tails.ravel(), heads.ravel(), capacity.ravel()))

    costs = 4 * unary.numpy().round().astype(np.int64)  # in quarters: whole numbers throughout
    for node, gain in (
        (first, costs[..., 1] - costs[..., 0]),
        (first + 1, costs[..., 2] - costs[..., 1]),
    ):
        # A node on the sink's side is 1: cutting source → node costs as much as being 1.
        add(np.array(source), node, np.maximum(gain, 0))
        add(node, np.array(sink), np.maximum(-gain, 0))
    limit = np.array(2**30)
    add(first, first + 1, limit)  # x₂ = 1 requires x₁ = 1
    for edge, one, other in (
        (edge_v, first[:-1], first[1:]),
        (edge_h, first[:, :-1], first[:, 1:]),
    ):
        weight = edge.numpy().round().astype(np.int64)
        for here, there in ((one, other), (other, one)):
            add(here, there, weight)
            add(here + 1, there + 1, weight)
            add(there, here + 1, 2 * weight)
    tails, heads, capacity = (np.concatenate(part) for part in zip(*arcs, strict=True))
    size = 2 * count + 2
    graph = coo_array(
        (capacity.clip(max=limit).astype(np.int32), (tails, heads)), (size, size)
    ).tocsr()
    graph.sum_duplicates()
    flow = maximum_flow(graph, source, sink).flow
    residual = (graph - flow).tocsr()
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, source, return_predecessors=False)
    one = np.ones(size, dtype=np.int64)
    one[reached] = 0
    return torch.from_numpy(one[:-2].reshape(rows, columns, 2).sum(2))
