"""Methods by saliency, attention and masks against naive loops over their samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from saliencymixplus import mixing

SHAPES = [(7, 3, 16, 16), (4, 3, 24, 20), (1, 3, 9, 13), (2, 1, 17, 8)]


@dataclass
class Pair:
    """One pair of images as arrays, with what was drawn for it."""

    a: np.ndarray
    b: np.ndarray
    i: int
    j: int
    draw: mixing.Draw
    saliency: np.ndarray
    masks: np.ndarray

    def one(self, name: str) -> Any:
        """This pair's entry of a draw that may hold one for the whole batch."""
        values = getattr(self.draw, name)
        return values[self.i if len(values) > 1 else 0].numpy()


Naive = Callable[[Any, Pair], tuple[np.ndarray, float]]


def oacutmix(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    _, height, width = p.a.shape
    ratio = np.sqrt(1.0 - p.one("lam0"))
    h, w = int(height * ratio), int(width * ratio)
    row, column = p.one("centre")
    released = o.label == "released"
    down, right = (h // 2, w // 2) if o.box_size == "halves" else (h - h // 2, w - w // 2)
    r0, r1 = np.clip([row - h // 2, row + down], 0, height)
    c0, c1 = np.clip([column - w // 2, column + right], 0, width)
    mixed = p.a.copy()
    mixed[:, r0:r1, c0:c1] = p.b[:, r0:r1, c0:c1]
    area = 1 - (r1 - r0) * (c1 - c0) / (height * width)
    object_a, object_b = p.masks[p.i] == 1, p.masks[p.j] == 1
    hidden, shown = object_a[r0:r1, c0:c1].sum(), object_b[r0:r1, c0:c1].sum()
    whole_a, whole_b = object_a.sum(), object_b.sum()
    if not released and (not whole_a or not whole_b or whole_a - hidden + shown == 0):
        return mixed, area
    fraction_a = 1 - (hidden / whole_a if whole_a else 0)
    fraction_b = shown / whole_b if whole_b else 0
    visible = fraction_a + fraction_b
    relative = fraction_a / visible if visible else 0.0
    pixels = whole_a - hidden + shown
    absolute = (whole_a - hidden) / pixels if pixels else 0.5
    mode = {"mask": 0.0, "mask_pixels": 1.0, "released": o.absolute}[o.label]
    lam = mode * absolute + (1 - mode) * relative
    return mixed, o.object_weight * lam + (1 - o.object_weight) * area


def guidedap(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    first, second = (p.saliency[k] / p.saliency[k].sum() for k in (p.i, p.j))
    weight = first / (first + second)
    return weight * p.a + (1 - weight) * p.b, weight.mean()


def rmix(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    lam0 = float(p.draw.lam0[p.i if len(p.draw.lam0) > 1 else 0])
    _, height, width = p.a.shape
    grids = []
    half = o.pairs == "half" and len(p.saliency) > 1
    for which, chance in (
        (p.i, p.draw.uniform[p.i, 0]),
        (p.j, p.draw.uniform[p.i, 1] if half else p.draw.uniform[p.j, 0]),
    ):
        pooled = {}
        for r in range(0, height, o.patch):
            for c in range(0, width, o.patch):
                pooled[r, c] = p.saliency[which][r : r + o.patch, c : c + o.patch].mean()
        values = np.array(list(pooled.values()), np.float32)
        quantile = np.linspace(0, 0.99, 10, dtype=np.float32)[int(chance * 10)]
        threshold = np.quantile(values, quantile)
        grids.append({place: value >= threshold for place, value in pooled.items()})
    weight = np.zeros((height, width))
    for (r, c), first in grids[0].items():
        value = lam0 if first == grids[1][r, c] else float(first)
        weight[r : r + o.patch, c : c + o.patch] = value
    return weight * p.a + (1 - weight) * p.b, weight.mean()


def moved(values: np.ndarray, down: int, right: int) -> np.ndarray:
    height, width = values.shape[-2:]
    found = np.zeros_like(values)
    for r in range(height):
        for c in range(width):
            if 0 <= r - down < height and 0 <= c - right < width:
                found[..., r, c] = values[..., r - down, c - right]
    return found


def sage(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    _, height, width = p.a.shape
    alpha = o.largest * float(p.one("lam0"))
    first = alpha * p.saliency[p.i] / p.saliency[p.i].sum()
    second = (1 - alpha) * p.saliency[p.j] / p.saliency[p.j].sum()
    rows, columns = 2 * height - 1, 2 * width - 1
    count = max(1, int(rows * columns * o.offsets))
    order = np.argsort(-p.draw.noise[0].numpy().ravel())[:count]
    best = (-1.0, (0, 0))
    for place in order:
        offset = (int(place) // columns - height + 1, int(place) % columns - width + 1)
        shifted = moved(second, *offset)
        weight = first / (first + shifted)
        score = (first * weight + shifted * (1 - weight)).sum()
        if score > best[0] + 1e-7:
            best = (score, offset)
    shifted = moved(second, *best[1])
    weight = first / (first + shifted)
    return weight * p.a + (1 - weight) * moved(p.b, *best[1]), weight.mean()


def cells(attention: np.ndarray, count: int, height: int, width: int) -> np.ndarray:
    rows, columns = attention.shape
    chosen = set(np.argsort(-attention.ravel(), kind="stable")[:count].tolist())
    mask = np.zeros((height, width), bool)
    for r in range(height):
        for c in range(width):
            mask[r, c] = (r * rows // height) * columns + c * columns // width in chosen
    return mask


def attentivemix(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    attention = p.saliency[p.i]
    share = float(p.one("lam0"))
    count = o.top_k or max(1, math.floor(attention.size * share))
    mask = cells(attention, count, *p.a.shape[1:])
    lam = mask.mean()
    if o.area == "first":
        lam = cells(p.saliency[0], count, *p.a.shape[1:]).mean()
    return np.where(mask, p.a, p.b), lam


def attentivecutmix(o: Any, p: Pair) -> tuple[np.ndarray, float]:
    attention = p.saliency[p.i]
    count = max(1, round(o.top_k * attention.size / 49))
    mask = cells(attention, count, *p.a.shape[1:])
    return np.where(mask, p.a, p.b), mask.mean()


CASES: list[tuple[Naive, dict[str, Any]]] = [
    (oacutmix, {}),
    (oacutmix, {"label": "mask_pixels", "box": "batch", "pairs": "redrawn"}),
    (oacutmix, {"variant": "published"}),
    (oacutmix, {"label": "released", "absolute": 0.3, "object_weight": 0.5}),
    (guidedap, {"smoothing": 0.0, "pairs": "full"}),
    (guidedap, {"smoothing": 0.0}),
    (rmix, {"patch": 4}),
    (rmix, {"patch": 5, "pairs": "half"}),
    (rmix, {"patch": 3, "variant": "published"}),
    (sage, {"smoothing": 0.0, "largest": 0.7}),
    (sage, {"smoothing": 0.0, "offsets": 0.0}),
    (attentivemix, {}),
    (attentivemix, {"top_k": 3}),
    (attentivemix, {"variant": "published"}),
    (attentivecutmix, {}),
    (attentivecutmix, {"top_k": 20, "pairs": "half"}),
]
COARSE = {attentivemix, attentivecutmix}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("naive", "options"),
    CASES,
    ids=["-".join([f.__name__, *map(str, o.values())]) for f, o in CASES],
)
def test_a_loop_over_the_samples_gives_the_same(
    naive: Naive, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(sum(shape))
    count, _, height, width = shape
    images = torch.randn(shape, generator=generator)
    size = (5, 4) if naive in COARSE else (height, width)
    saliency = torch.rand(count, *size, generator=generator) ** 3 + 1e-3
    masks = (torch.rand(count, height, width, generator=generator) < 0.3).long()
    masks[0] = 0  # an image without an object
    masks[-1, : height // 2] = 2
    mixer = mixing.create(naive.__name__, **options)
    for _ in range(3):
        draw = mixer.draw(count, height, width, generator=generator)
        labels = torch.arange(count)
        mixed = mixer(images, labels, saliency=saliency, masks=masks, draw=draw)
        assert torch.equal(mixed.labels_b, labels[mixed.index_b])
        for i in range(draw.size):
            j = int(mixed.index_b[i])
            pair = Pair(
                images[i].numpy(), images[j].numpy(), i, j, draw, saliency.numpy(), masks.numpy()
            )
            expected, lam = naive(mixer.options, pair)
            np.testing.assert_allclose(mixed.images[i].numpy(), expected, rtol=0, atol=2e-5)
            assert mixed.lam[i].item() == pytest.approx(lam, abs=2e-5)
