"""PuzzleMix's grid labelling against enumeration and SciPy's maximum flow."""

from itertools import product

import pytest
import torch
from torch import Tensor

from saliencymixplus.mixing.graph_cut import energy, exact, minimise


def problem(images: int, rows: int, columns: int, edge: int, seed: int) -> tuple[Tensor, ...]:
    """Whole-number costs from smooth random saliency of two images; edges up to ``edge``."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, images, rows + 2, columns + 2, generator=generator) ** 4
    maps = torch.nn.functional.avg_pool2d(maps, 3, 1)
    a, b = maps / maps.sum((2, 3), keepdim=True) * 1000 * rows * columns
    unary = torch.stack((b, (a + b) / 2 + 40, a), dim=3).trunc()
    edge_v = (torch.rand(images, rows - 1, columns, generator=generator) * edge).trunc()
    edge_h = (torch.rand(images, rows, columns - 1, generator=generator) * edge).trunc()
    return unary, edge_v, edge_h


def naive_energy(labels: Tensor, unary: Tensor, edge_v: Tensor, edge_h: Tensor) -> float:
    rows, columns = labels.shape
    total = 0.0
    for r, c in product(range(rows), range(columns)):
        total += float(unary[r, c, labels[r, c]])
        if r + 1 < rows:
            total += float(edge_v[r, c]) * float(labels[r, c] - labels[r + 1, c]) ** 2 / 4
        if c + 1 < columns:
            total += float(edge_h[r, c]) * float(labels[r, c] - labels[r, c + 1]) ** 2 / 4
    return total


@pytest.mark.parametrize("edge", [0, 300, 3000])
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 3), (3, 2)])
def test_small_grids_against_every_labelling(rows: int, columns: int, edge: int) -> None:
    unary, edge_v, edge_h = problem(3, rows, columns, edge, seed=edge)
    every = torch.tensor(list(product(range(3), repeat=rows * columns))).view(-1, rows, columns)
    found, oracle = (solver(unary, edge_v, edge_h) for solver in (minimise, exact))
    for image in range(3):
        parts = (unary[image], edge_v[image], edge_h[image])
        least = min(naive_energy(labels, *parts) for labels in every)
        assert naive_energy(found[image], *parts) == least
        assert naive_energy(oracle[image], *parts) == least


@pytest.mark.parametrize("edge", [100, 1200, 5000])
def test_up_to_four_columns_the_minimum_is_exact(edge: int) -> None:
    parts = problem(8, 4, 4, edge, seed=1)
    assert torch.equal(energy(minimise(*parts), *parts), energy(exact(*parts), *parts))


@pytest.mark.parametrize("edge", [100, 1200, 2500])
@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 16), (8, 16)])
def test_larger_grids_come_within_one_percent(rows: int, columns: int, edge: int) -> None:
    parts = problem(4, rows, columns, edge, seed=2)
    least = energy(exact(*parts), *parts)
    assert (energy(minimise(*parts), *parts) <= 1.01 * least).all()


def test_an_image_is_labelled_alike_in_any_batch() -> None:
    unary, edge_v, edge_h = problem(4, 8, 8, 800, seed=3)
    alone = minimise(unary[2:3], edge_v[2:3], edge_h[2:3])
    assert torch.equal(minimise(unary, edge_v, edge_h)[2:3], alone)
