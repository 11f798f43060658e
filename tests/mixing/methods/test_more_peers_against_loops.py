"""SnapMix, TransMix, Manifold Mixup and PuzzleMix against naive loops over their samples."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from saliencymixplus import mixing

SHAPES = [(7, 3, 16, 16), (4, 3, 24, 20), (1, 3, 9, 13), (2, 1, 17, 8)]


def box(lam0: float, centre: Any, size: str, height: int, width: int) -> tuple[int, int, int, int]:
    h, w = int(height * np.sqrt(1 - lam0)), int(width * np.sqrt(1 - lam0))
    down, right = (h // 2, w // 2) if size == "halves" else (h - h // 2, w - w // 2)
    r0, r1 = np.clip([centre[0] - h // 2, centre[0] + down], 0, height)
    c0, c1 = np.clip([centre[1] - w // 2, centre[1] + right], 0, width)
    return int(r0), int(c0), int(r1), int(c1)


def entry(values: torch.Tensor, i: int) -> np.ndarray:
    return values[i if len(values) > 1 else 0].numpy()


def snapmix(o: Any, a: Any, b: Any, maps: Any, same: bool, draw: mixing.Draw, i: int) -> Any:
    _, height, width = a.shape
    place_b = (entry(draw.uniform, i) * (height, width)).astype(int)
    r0, c0, r1, c1 = box(entry(draw.lam0, i), entry(draw.centre, i), o.box_size, height, width)
    q0, d0, q1, d1 = box(entry(draw.lam1, i), place_b, o.box_size, height, width)
    if r1 == r0 or c1 == c0 or q1 == q0 or d1 == d0:
        return a, 1.0, 0.0
    mixed = a.copy()
    crop = torch.from_numpy(b[None, :, q0:q1, d0:d1])
    mixed[:, r0:r1, c0:c1] = F.interpolate(
        crop, size=(r1 - r0, c1 - c0), mode="bilinear", align_corners=True
    )[0].numpy()
    lam_a = 1 - maps[0][r0:r1, c0:c1].sum() / maps[0].sum()
    lam_b = maps[1][q0:q1, d0:d1].sum() / maps[1].sum()
    if same and o.same_label == "doubled":
        return mixed, lam_a + lam_b, lam_a + lam_b
    return mixed, lam_a, lam_b


def transmix(o: Any, a: Any, b: Any, maps: Any, same: bool, draw: mixing.Draw, i: int) -> Any:
    _, height, width = a.shape
    r0, c0, r1, c1 = box(entry(draw.lam0, i), entry(draw.centre, i), o.box_size, height, width)
    mixed = a.copy()
    mixed[:, r0:r1, c0:c1] = b[:, r0:r1, c0:c1]
    share = (r1 - r0) * (c1 - c0) / (height * width)
    return mixed, 1 - share, share


def manifold(o: Any, a: Any, b: Any, maps: Any, same: bool, draw: mixing.Draw, i: int) -> Any:
    lam = float(draw.lam0[0])
    at_input = int(draw.uniform[0, 0] * 3) == 0  # of the input and two layers
    return (lam * a + (1 - lam) * b if at_input else a), lam, 1 - lam


def puzzlemix(o: Any, a: Any, b: Any, maps: Any, same: bool, draw: mixing.Draw, i: int) -> Any:
    """Costs, every labelling of a 2 × 2 grid, and the transport, all by loops (square images)."""
    height = a.shape[1]
    n, lam0 = 2, float(entry(draw.lam0, i))
    q = height // n
    beta, gamma, eta = 1.2 / (16 * n), 0.5, 0.2
    cells = [tiles(m, n).mean((2, 3)) for m in maps]
    cells = [c / c.sum() for c in cells]
    drop = [cells[0].copy(), cells[1].copy()]  # paid for dropping a, b
    pool = max(s for s in range(1, 5) if q % s == 0)
    fine = [tiles_of(x * o.pixel_std, pool).mean((3, 4)) for x in (a, b)]
    k = q // pool
    edges = {}
    for (r, c), axis in product(product(range(n), range(n)), (0, 1)):
        s = (r + 1, c) if axis == 0 else (r, c + 1)
        if max(s) >= n:
            continue

        def seam(u: int, v: int, r=r, c=c, s=s, axis=axis) -> float:
            if axis == 0:
                end, start = fine[u][:, (r + 1) * k - 1, :], fine[v][:, s[0] * k, :]
                along = slice(c * k, (c + 1) * k)
            else:
                end, start = fine[u][:, :, (c + 1) * k - 1], fine[v][:, :, s[1] * k]
                along = slice(r * k, (r + 1) * k)
            return beta * gamma * float(np.abs(end - start)[:, along].mean())

        aa, ab, ba, bb = seam(0, 0), seam(0, 1), seam(1, 0), seam(1, 1)
        drop[1][r, c] += (ab + aa) / 2
        drop[0][r, c] += (ba + bb) / 2
        drop[1][s] += (ba + aa) / 2
        drop[0][s] += (ab + bb) / 2
        edges[(r, c), s] = (ab + ba - aa - bb) / 2 + beta
    prior = -np.log(np.array([lam0**2, 2 * lam0 * (1 - lam0), (1 - lam0) ** 2]) + 1e-8)

    def cost(z: Any) -> float:
        total = 0.0
        for x, label in z.items():
            shown = (1 - label / 2) * drop[1][x] + label / 2 * drop[0][x]
            total += np.trunc(1000 * n * n * (shown + eta / n**2 * prior[label]))
        return total + sum(
            np.trunc(1000 * n * n * e) * (z[x] - z[y]) ** 2 / 4 for (x, y), e in edges.items()
        )

    places = list(product(range(n), range(n)))
    best = min((dict(zip(places, z, strict=True)) for z in product(range(3), repeat=4)), key=cost)
    z = np.array([[1 - best[r, c] / 2 for c in range(n)] for r in range(n)])
    whole = z.repeat(q, 0).repeat(q, 1)
    if o.transport == "on":
        a = moved(a, plan(cells[0], z), n)
        b = moved(b, plan(cells[1], 1 - z), n)
    return whole * a + (1 - whole) * b, z.mean(), 1 - z.mean()


def tiles(m: np.ndarray, n: int) -> np.ndarray:
    h, w = m.shape[0] // n, m.shape[1] // n
    return m.reshape(n, h, n, w).transpose(0, 2, 1, 3)


def tiles_of(x: np.ndarray, size: int) -> np.ndarray:
    c, h, w = x.shape
    return x.reshape(c, h // size, size, w // size, size).transpose(0, 1, 3, 2, 4)


def plan(cells: np.ndarray, kept: np.ndarray) -> list[int]:
    n = len(cells)
    s, z = cells.ravel().astype(np.float32), kept.ravel() > 0
    far = [
        [(i // n - j // n) ** 2 + (i % n - j % n) ** 2 for j in range(n * n)] for i in range(n * n)
    ]
    cost = np.float32(0.8) * np.array(far, np.float32) / (n - 1) ** 2 - s[:, None] * z[None]
    for _ in range(n):
        wants = cost.argmin(1)
        source = [-1] * (n * n)
        for j in range(n * n):
            offers = [cost[i, j] if wants[i] == j else 0.0 for i in range(n * n)]
            first = int(np.argmin(offers))
            if wants[first] == j:
                source[j] = first
        for i in range(n * n):
            if source[wants[i]] != i:
                cost[i, wants[i]] += 1
    return source


def moved(x: np.ndarray, source: list[int], n: int) -> np.ndarray:
    found, (_, h, w) = np.zeros_like(x), x.shape
    h, w = h // n, w // n
    for j, i in enumerate(source):
        if i >= 0:
            r, c, q, d = j // n * h, j % n * w, i // n * h, i % n * w
            found[:, r : r + h, c : c + w] = x[:, q : q + h, d : d + w]
    return found


CASES = [
    (snapmix, {}),
    (snapmix, {"box": "sample", "box_size": "halves"}),
    (snapmix, {"variant": "published"}),
    (transmix, {}),
    (transmix, {"box": "sample", "variant": "published"}),
    (manifold, {}),
    (puzzlemix, {"grid": 2, "transport_size": 0}),
    (puzzlemix, {"grid": 2, "transport_size": 0, "lam0": "sample", "pixel_std": 1.0}),
    (puzzlemix, {"grid": 2, "transport": "off", "solver": "exact"}),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("naive", "options"),
    CASES,
    ids=["-".join([f.__name__, *map(str, o.values())]) for f, o in CASES],
)
def test_a_loop_over_the_samples_gives_the_same(
    naive: Any, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    count, _, height, width = shape
    if naive is puzzlemix and (height % 2 or width % 2 or height != width):
        shape = (5, 3, 12, 12)
        count, _, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    images = torch.randn(shape, generator=generator)
    maps = torch.rand(count, height, width, generator=generator) ** 6 + 1e-3
    labels = torch.arange(count) % 2
    mixer = mixing.create(naive.__name__, **options)
    for _ in range(3):
        draw = mixer.draw(count, height, width, generator=generator)
        given = maps if naive in (snapmix, puzzlemix) else None
        mixed = mixer(images, labels, saliency=given, draw=draw)
        for i in range(draw.size):
            j = int(mixed.index_b[i])
            pair = images[i].numpy(), images[j].numpy(), (maps[i].numpy(), maps[j].numpy())
            same = bool(labels[i] == labels[j])
            expected, lam, lam_b = naive(mixer.options, *pair, same, draw, i)
            np.testing.assert_allclose(mixed.images[i].numpy(), expected, rtol=0, atol=2e-5)
            assert mixed.lam[i].item() == pytest.approx(lam, abs=2e-5)
            assert mixed.weight_b[i].item() == pytest.approx(lam_b, abs=2e-5)
