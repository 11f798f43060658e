"""Every vectorised method against a naive loop over its samples."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus import mixing

SHAPES = [(7, 3, 16, 16), (4, 3, 24, 40), (1, 3, 9, 13), (2, 1, 33, 8)]
Naive = Callable[[dict[str, Any], Tensor, Tensor, mixing.Draw, Tensor | None, int], tuple]


def one(value: Tensor | None, i: int) -> Tensor:
    """Entry i of a draw that may hold one number for the whole batch."""
    assert value is not None
    return value[i if len(value) > 1 else 0]


def cut(a: Tensor, b: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, float]:
    r0, c0, r1, c1 = box
    mixed = a.clone()
    mixed[:, r0:r1, c0:c1] = b[:, r0:r1, c0:c1]
    return mixed, 1 - (r1 - r0) * (c1 - c0) / (a.shape[1] * a.shape[2])


def box_at(
    row: int, column: int, lam0: float, height: int, width: int, size: str
) -> tuple[int, int, int, int]:
    ratio = np.sqrt(1.0 - lam0)
    h, w = int(height * ratio), int(width * ratio)
    down = h // 2 if size == "halves" else h - h // 2
    right = w // 2 if size == "halves" else w - w // 2
    r0, r1 = np.clip([row - h // 2, row + down], 0, height)
    c0, c1 = np.clip([column - w // 2, column + right], 0, width)
    return int(r0), int(c0), int(r1), int(c1)


def peak_of(saliency: Tensor) -> tuple[int, int]:
    return divmod(int(np.argmax(saliency.numpy())), saliency.shape[1])


def cutmix(o, a, b, draw, s, i):
    row, column = one(draw.centre, i).tolist()
    box = box_at(row, column, float(one(draw.lam0, i)), *a.shape[1:], o["box_size"])
    return cut(a, b, box)


def saliencymix(o, a, b, draw, s, i):
    place = draw.index_b[i if o["box"] == "sample" else 0]
    box = box_at(*peak_of(s[place]), float(one(draw.lam0, i)), *a.shape[1:], o["box_size"])
    return cut(a, b, box)


def centre_of(o, draw, s_b, i):
    height, width = s_b.shape
    if o["position"] == "peak":
        return peak_of(s_b)
    if o["position"] == "random":
        return tuple(one(draw.centre, i).tolist())
    if o["position"] == "sampled":
        target = float(one(draw.uniform, i)[0]) * s_b.double().sum().item()
        total = 0.0
        for k, value in enumerate(s_b.flatten().double().tolist()):
            total += value
            if total > target:
                return divmod(k, width)
    best, found = -1.0, (0, 0)
    ratio = np.sqrt(1.0 - float(one(draw.lam0, i)))
    h, w = int(height * ratio), int(width * ratio)
    for row in range(height):
        for column in range(width):
            r0, c0 = row - h // 2, column - w // 2
            r1 = row + (h // 2 if o["box_size"] == "halves" else h - h // 2)
            c1 = column + (w // 2 if o["box_size"] == "halves" else w - w // 2)
            if r0 < 0 or c0 < 0 or r1 > height or c1 > width:
                continue
            mass = s_b[r0:r1, c0:c1].double().sum().item()
            if mass > best + 1e-6:
                best, found = mass, (row, column)
    return found


def saliencymixplus(o, a, b, draw, s, i):
    s_a, s_b = s[i], s[draw.index_b[i]]
    row, column = centre_of(o, draw, s_b, i)
    box = box_at(row, column, float(one(draw.lam0, i)), *a.shape[1:], o["box_size"])
    mixed, area = cut(a, b, box)
    if o["label"] == "area":
        return mixed, area
    r0, c0, r1, c1 = box
    if o["label"] == "excess":
        s_a, s_b = ((s.double() - s.double().mean()).clamp(min=0) for s in (s_a, s_b))
    p_a = 1 - (s_a[r0:r1, c0:c1].double().sum() / s_a.double().sum()).item()
    p_b = (s_b[r0:r1, c0:c1].double().sum() / s_b.double().sum()).item()
    return mixed, p_a / (p_a + p_b)


def mixup(o, a, b, draw, s, i):
    lam = float(one(draw.lam0, i))
    return lam * a + (1 - lam) * b, lam


def resizemix(o, a, b, draw, s, i):
    height, width = a.shape[1:]
    tau = o["smallest"] + (o["largest"] - o["smallest"]) * float(one(draw.lam0, i))
    h, w = int(height * tau), int(width * tau)
    if o["variant"] == "published":
        return resizemix_published(a, b, one(draw.centre, i).tolist(), h, w, o["smallest"])
    u, v = one(draw.uniform, i)
    r0, c0 = int(u * (height - h + 1)), int(v * (width - w + 1))
    mixed = a.clone()
    if h and w:
        mixed[:, r0 : r0 + h, c0 : c0 + w] = F.interpolate(b[None], size=(h, w), mode="bilinear")
    return mixed, 1 - h * w / (height * width)


def resizemix_published(a, b, centre, h, w, tau):
    """Only with ``smallest`` and ``largest`` equal to ``tau``."""
    height, width = a.shape[1:]
    r0 = min(max(centre[0] - h // 2, 0), height - h)
    c0 = min(max(centre[1] - w // 2, 0), width - w)
    step = np.float32(1 / tau)
    mixed = a.clone()
    for r in range(h):
        for c in range(w):
            row, column = int(np.float32(r) * step), int(np.float32(c) * step)
            mixed[:, r0 + r, c0 + c] = b[:, min(row, height - 1), min(column, width - 1)]
    return mixed, 1 - h * w / (height * width)


def fmix(o, a, b, draw, s, i):
    height, width = a.shape[1:]
    noise = one(draw.noise, i).double().numpy()
    spectrum = noise[..., 0] + 1j * noise[..., 1]
    for r, fr in enumerate(np.fft.fftfreq(height)):
        for c, fc in enumerate(np.fft.rfftfreq(width)):
            spectrum[r, c] /= max(math.hypot(fr, fc), 1 / max(height, width)) ** o["decay"]
    field = np.fft.irfft2(spectrum, s=(height, width)).ravel()
    lam = float(one(draw.lam0, i))
    exact = lam * height * width
    count = math.floor(exact) if one(draw.uniform, i)[0] < 0.5 else math.ceil(exact)
    soft = int(min(o["max_soft"], lam, 1 - lam) * height * width)
    first = np.zeros(height * width, np.float32)
    order = np.argsort(-field)
    first[order[: count - soft]] = 1
    first[order[count - soft : count + soft]] = np.linspace(1, 0, 2 * soft)
    weight = torch.from_numpy(first.reshape(height, width))
    return weight * a + (1 - weight) * b, lam


def gridmix(o, a, b, draw, s, i):
    height, width = a.shape[1:]
    lam = float(one(draw.lam0, i))
    noise = one(draw.noise, i)
    mixed, kept = b.clone(), 0
    for r in range(height):
        for c in range(width):
            z = noise[r * o["cells"] // height, c * o["cells"] // width].item()
            if 0.5 * math.erfc(-z / math.sqrt(2)) < lam:
                mixed[:, r, c] = a[:, r, c]
                kept += 1
    return mixed, kept / (height * width)


def smoothmix(o, a, b, draw, s, i):
    height, width = a.shape[1:]
    sigma = o["narrowest"] + (o["widest"] - o["narrowest"]) * float(one(draw.lam0, i))
    row, column = one(draw.centre, i).tolist()
    weight = torch.zeros(height, width)
    for r in range(height):
        for c in range(width):
            z = ((r - row) / (sigma * height)) ** 2 + ((c - column) / (sigma * width)) ** 2
            weight[r, c] = math.exp(-z / 2)
    return a * (1 - weight) + b * weight, 1 - weight.mean().item()


def guidedsr(o, a, b, draw, s, i):
    s_a, s_b = s[i].double(), s[draw.index_b[i]].double()
    weight = (s_a / s_a.sum()) / (s_a / s_a.sum() + s_b / s_b.sum())
    return (a * weight + b * (1 - weight)).float(), weight.mean().item()


CASES: list[tuple[Naive, dict[str, Any]]] = [
    *[(cutmix, {"box": box, "box_size": size}) for box in ("batch", "sample")
      for size in ("halves", "exact")],
    (saliencymix, {}),
    (saliencymix, {"box": "batch", "box_size": "halves"}),
    *[(saliencymixplus, {"position": where, "lam0": lam0, "box_size": size})
      for where in ("peak", "mass", "sampled", "random")
      for lam0, size in (("sample", "exact"), ("batch", "halves"))],
    (saliencymixplus, {"label": "area"}),
    (saliencymixplus, {"label": "excess"}),
    (saliencymixplus, {"pairs": "half"}),
    (mixup, {"lam0": "batch"}),
    (mixup, {"lam0": "sample", "pairs": "permutation"}),
    (resizemix, {"box": "batch"}),
    (resizemix, {"box": "sample", "smallest": 0.05, "largest": 1.0}),
    (resizemix, {"variant": "published", "smallest": 0.37, "largest": 0.37}),
    (fmix, {"mask": "batch"}),
    (fmix, {"mask": "sample", "max_soft": 0.2}),
    (fmix, {"mask": "sample", "decay": 1.0}),
    (gridmix, {"mask": "batch"}),
    (gridmix, {"mask": "sample", "cells": 3}),
    (smoothmix, {"mask": "batch"}),
    (smoothmix, {"mask": "sample", "narrowest": 0.1}),
    (guidedsr, {"pairs": "full", "smoothing": 0.0}),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("naive", "options"), CASES, ids=[f"{f.__name__}-{'-'.join(map(str, o.values()))}"
                                      for f, o in CASES]
)  # fmt: skip
def test_a_loop_over_the_samples_gives_the_same(
    naive: Naive, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(hash(shape) % 1000)
    images = torch.randn(shape, generator=generator)
    labels = torch.arange(shape[0])
    saliency = torch.rand(shape[0], *shape[2:], generator=generator) ** 4
    mixer = mixing.create(naive.__name__, **options)
    for _ in range(4):
        draw = mixer.draw(shape[0], *shape[2:], generator=generator)
        mixed = mixer(images, labels, saliency=saliency, draw=draw)
        assert torch.equal(mixed.labels_a, labels[: draw.size])
        assert torch.equal(mixed.labels_b, labels[draw.index_b])
        for i in range(draw.size):
            a, b = images[i], images[draw.index_b[i]]
            expected, lam = naive(asdict(mixer.options), a, b, draw, saliency, i)
            torch.testing.assert_close(mixed.images[i], expected, rtol=0.0, atol=1e-4)
            assert mixed.lam[i].item() == pytest.approx(lam, abs=2e-5)


def greedy(maps: np.ndarray) -> list[int]:
    count = len(maps)
    distance = ((maps[:, None] - maps[None]) ** 2).sum((2, 3))
    np.fill_diagonal(distance, -np.inf)
    first = current = int(distance.argmax()) // count
    partner, left = [first] * count, set(range(count)) - {first}
    while left:
        following = max(left, key=lambda j: distance[current, j])
        partner[current] = current = following
        left.remove(following)
    partner[current] = first
    return partner


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_guidedsr_links_the_farthest_maps(count: int, seed: int) -> None:
    saliency = torch.rand(count, 12, 10, generator=torch.Generator().manual_seed(seed)) ** 3
    mixer = mixing.create("guidedsr", smoothing=0.0)
    mixed = mixer(torch.rand(count, 3, 12, 10), torch.arange(count), saliency=saliency)
    maps = saliency.double() / saliency.double().sum((1, 2), keepdim=True)
    assert mixed.index_b.tolist() == greedy(maps.numpy())
