"""Random erasing against timm's."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.loading.augment import Augmentation
from saliencymixplus.loading.batches import DeviceData
from saliencymixplus.loading.erasing import Erased, Erasing, erase, inside
from tests.helpers import write_rectangles

CPU = torch.device("cpu")


def erased_at(*boxes: tuple[int, int, int, int], noise: torch.Tensor | None = None) -> Erased:
    top, left, height, width = (torch.tensor(column) for column in zip(*boxes, strict=True))
    return Erased(top, left, height, width, noise)


def test_the_rectangle_is_filled_and_nothing_else() -> None:
    images, noise = torch.rand(3, 3, 9, 11) + 1, torch.randn(3, 3, 9, 11)
    boxes = [(2, 3, 4, 5), (0, 0, 0, 0), (5, 10, 4, 1)]
    for fill in (None, noise):
        expected = images.clone()
        for i, (top, left, h, w) in enumerate(boxes):
            place = (i, slice(None), slice(top, top + h), slice(left, left + w))
            expected[place] = 0.0 if fill is None else fill[place]
        assert torch.equal(erase(images, erased_at(*boxes, noise=fill)), expected)


def test_rectangles_are_distributed_as_timms() -> None:
    timm = pytest.importorskip("timm.data.random_erasing")
    count, (height, width) = 2000, (20, 28)
    found = Erasing(0.6, noise=False).draw(
        count, (height, width), torch.Generator().manual_seed(0), CPU
    )
    random.seed(0)
    theirs = timm.RandomErasing(probability=0.6, mode="const", device="cpu")
    masks = torch.ones(count, 1, height, width)
    theirs(masks)
    ours = inside(found, (height, width)).float()
    for summary in (
        lambda hidden: hidden.sum((1, 2)),  # area
        lambda hidden: hidden.any(2).float().sum(1),  # height
        lambda hidden: hidden.any(1).float().sum(1),  # width
        lambda hidden: hidden[:, height // 2, width // 2],
        lambda hidden: hidden[:, 0, 0],
    ):
        a, b = summary(ours), summary(1 - masks[:, 0])
        error = (a.var() / count + b.var() / count).sqrt()
        assert abs(a.mean() - b.mean()) < 4 * error
    assert (found.top + found.height <= height).all()
    assert (found.left + found.width <= width).all()


def test_noise_is_standard_normal_and_part_of_the_draw() -> None:
    draw = Erasing(1.0, noise=True).draw
    noise = draw(200, (8, 8), torch.Generator().manual_seed(0), CPU).noise
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    again = draw(200, (8, 8), torch.Generator().manual_seed(0), CPU).noise
    assert torch.equal(noise, again)


def test_what_is_erased_is_neither_object_nor_salient(tmp_path: Path) -> None:
    split = load_prepared(write_rectangles(tmp_path / "data")).split("train")
    how = Augmentation("none", (12, 12), (12, 12), erasing=Erasing(1.0, noise=False))
    data = DeviceData(split, how, (0.4,) * 3, (0.3,) * 3, CPU, saliency=True, masks=True)
    (inputs,) = data.inputs([torch.arange(24)])
    draws = how.draw(24, torch.Generator().manual_seed(1), CPU)
    batch, hidden = data.assemble(inputs, draws), inside(draws.erased, (12, 12))
    whole = data.assemble(inputs)
    assert hidden.any()
    assert (batch.images.permute(0, 2, 3, 1)[hidden] == 0).all()
    assert torch.equal(batch.masks, whole.masks * ~hidden)
    assert torch.equal(batch.saliency, whole.saliency * ~hidden)
    assert np.array_equal(batch.labels, whole.labels)
