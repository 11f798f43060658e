"""Co-Mixup: its solver against loops and enumeration, and labels of more than two images."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saliencymixplus import mixing
from saliencymixplus.mixing.methods import _comixup_solver as solver
from saliencymixplus.mixing.methods.comixup import prior, starts
from tests.peers.comixup import objective


def problem(count: int, side: int, seed: int = 0) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(1, count, side, side, generator=generator) ** 4
    cells = cells / cells.sum((2, 3), keepdim=True)
    wanted = torch.rand(1, count, generator=generator)
    costs = solver.input_costs(cells, wanted / wanted.sum())
    closeness = solver.affinity(torch.rand(1, count, count, generator=generator), 0.1)
    return costs, closeness, torch.randint(count, (1, count, side, side), generator=generator)


def potts(labels: Any, unary: Any, values: Any) -> float:
    """What labels (n, n) cost, cell by cell."""
    side, total = len(labels), 0.0
    for r, c in itertools.product(range(side), repeat=2):
        total += unary[labels[r][c], r, c]
        for other in ([labels[r + 1][c]] if r + 1 < side else []) + (
            [labels[r][c + 1]] if c + 1 < side else []
        ):
            if other != labels[r][c]:
                one, two = values[labels[r][c]], values[other]
                kin = (one * two).sum() > 0 and one.max() != two.max()
                total += solver.BETA / side**2 * (0.25 if kin else 1.0)
    return total


@pytest.mark.parametrize("seed", range(6))
def test_one_outputs_labels_are_nearly_the_cheapest(seed: int) -> None:
    costs, _, _ = problem(3, 2, seed)
    used = torch.tensor([[2.0, 1.0, 1.0]])
    shares = solver._labelled(costs, used, halves=True)[0]
    eye = np.eye(3)
    values = [*eye, (eye[0] + eye[1]) / 2, (eye[0] + eye[2]) / 2, (eye[1] + eye[2]) / 2]
    unary = [*costs[0].numpy()]
    unary += [(unary[i] + unary[j]) / 2 - 5e-4 for i, j in ((0, 1), (0, 2), (1, 2))]
    unary = np.stack(unary)
    every = (np.reshape(labels, (2, 2)) for labels in itertools.product(range(6), repeat=4))
    least = min(potts(labels, unary, values) for labels in every)
    chosen = [
        [next(k for k in range(6) if np.allclose(values[k], v)) for v in row] for row in shares
    ]
    assert potts(chosen, unary, values) <= least + 0.02 * abs(least)


def test_the_objective_against_a_loop() -> None:
    costs, closeness, start = problem(4, 3)
    shares = solver.solve(costs, closeness, start)
    z, c, count = shares[0].double().numpy(), costs[0].double().numpy(), 4
    data = sum(c[j, r, k] * z[i, r, k, j] for i, r, k, j in np.ndindex(4, 3, 3, 4))
    steps = sum(((z[i, r + 1, k] - z[i, r, k]) ** 2).sum() for i, r, k in np.ndindex(4, 2, 3))
    steps += sum(((z[i, r, k + 1] - z[i, r, k]) ** 2).sum() for i, r, k in np.ndindex(4, 3, 2))
    used = z.sum((1, 2))
    for thresholded in (False, True):
        shared = 0.0
        for i, j in np.ndindex(count, count):
            others = used[:, j].sum() - used[i, j]
            shared += used[i, j] * (others if not thresholded or others > 0.83 * 9 else 0.0)
        expected = data + 0.32 / 9 / 2 * steps + shared / 9
        found = objective(shares, costs, thresholded=thresholded)
        assert found.item() == pytest.approx(expected, abs=1e-5)


def test_parts_are_solved_independently() -> None:
    problems = [problem(5, 4, seed) for seed in range(3)]
    alone = [solver.solve(*each) for each in problems]
    together = solver.solve(*(torch.cat(tensors) for tensors in zip(*problems, strict=True)))
    assert torch.equal(together, torch.cat(alone))


def test_the_draws_are_dirichlet_and_uniform() -> None:
    noise = torch.randn(4000, 3, 4 + 4, generator=torch.Generator().manual_seed(0))
    found = prior(noise[:, :, :4])
    # Dirichlet(2, 2, 2): means 1/3, variances (1/3)(2/3)/7.
    torch.testing.assert_close(found.mean(0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)
    torch.testing.assert_close(found.var(0), torch.full((3,), 2 / 63), atol=0.003, rtol=0)
    counts = starts(noise[:, :, 4:], 2).flatten().bincount() / (4000 * 3 * 4)
    torch.testing.assert_close(counts, torch.full((3,), 1 / 3), atol=0.01, rtol=0)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("shape", [(7, 3, 8, 12), (9, 1, 16, 16), (1, 3, 8, 8)])
@pytest.mark.parametrize("method", ["comixup"])
def test_a_loop_over_the_samples_gives_the_same(
    method: str, shape: tuple[int, ...], soft: bool
) -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(shape, generator=generator)
    count, _, height, width = shape
    saliency = torch.rand(count, height, width, generator=generator) ** 8
    labels = torch.rand(count, 5, generator=generator) if soft else torch.arange(count) % 5
    mixer = mixing.create(method, part=4)
    mixed = mixer(images, labels, saliency=saliency, draw=mixer.draw(*shape[:1], *shape[2:]))
    assert mixed.weights is not None
    assert mixed.mask_a is not None
    assert mixed.mask is not None
    logits = torch.randn(count, 5, generator=generator)
    one_hot = labels if soft else F.one_hot(labels, 5).float()
    for i in range(count):
        weights = mixed.weights[i].numpy()
        own = range(i // 4 * 4, min(i // 4 * 4 + 4, count))
        assert sum(weights[j] for j in own) == pytest.approx(1.0)
        order = sorted(weights, reverse=True)
        assert mixed.lam[i] == pytest.approx(order[0])
        assert mixed.weight_b[i] == pytest.approx(order[1] if count > 1 else 0.0)
        expected = sum(w * one_hot[j] for j, w in enumerate(weights))
        torch.testing.assert_close(mixed.soft_labels(5)[i], expected)
        loss = -(expected * logits[i].log_softmax(0)).sum()
        torch.testing.assert_close(mixed.losses(logits)[i], loss)
        for r, c in np.ndindex(height, width):
            a, b = mixed.mask_a[i, 0, r, c].item(), mixed.mask[i, 0, r, c].item()
            if a + b == 1.0:
                first, second = images[mixed.index_a[i]], images[mixed.index_b[i]]
                pixel = a * first[:, r, c] + b * second[:, r, c]
                torch.testing.assert_close(mixed.images[i, :, r, c], pixel, atol=1e-5, rtol=0)
    assert torch.equal(mixed.labels_a, labels[mixed.index_a])
    assert torch.equal(mixed.labels_b, labels[mixed.index_b])
