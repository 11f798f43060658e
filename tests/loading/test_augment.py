"""Augmentation and batches against torchvision and plain indexing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from saliencymixplus.datasets.prepared import OBJECT, UNKNOWN, load_prepared
from saliencymixplus.loading.augment import RATIO, SCALE, Augmentation
from saliencymixplus.loading.batches import DeviceData
from saliencymixplus.loading.crops import Boxes, gather, resize_boxes, whole
from saliencymixplus.loading.loader import HostData
from tests.helpers import write_rectangles

CPU = torch.device("cpu")


def boxes_of(*rows: tuple[int, int, int, int, bool]) -> Boxes:
    top, left, height, width, flip = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Boxes(top, left, height, width, flip)


def test_padded_crop_and_flip_as_torchvision() -> None:
    images = torch.randint(1, 256, (4, 9, 11, 3), dtype=torch.uint8)
    places = [
        (-2, -2, 9, 11, False),
        (2, 1, 9, 11, True),
        (0, 0, 9, 11, True),
        (-1, 2, 9, 11, False),
    ]
    found = gather(images, torch.tensor([3, 0, 2, 1]), boxes_of(*places), (9, 11))
    for i, (row, (top, left, h, w, flip)) in enumerate(zip([3, 0, 2, 1], places, strict=True)):
        padded = tv.pad(images[row].permute(2, 0, 1), [2, 2])
        expected = tv.crop(padded, top + 2, left + 2, h, w)
        expected = tv.horizontal_flip(expected) if flip else expected
        assert torch.equal(found[i].permute(2, 0, 1), expected)


def test_reflected_padding_as_torchs() -> None:
    images = torch.randint(0, 256, (3, 9, 11, 3), dtype=torch.uint8)
    places = [(-4, 4, 9, 11, False), (4, -4, 9, 11, True), (-1, 3, 9, 11, False)]
    rows = torch.arange(3)
    found = gather(images, rows, boxes_of(*places), (9, 11), reflect=True)
    for i, (top, left, h, w, flip) in enumerate(places):
        pixels = images[i].permute(2, 0, 1).float()
        padded = torch.nn.functional.pad(pixels, (4, 4, 4, 4), mode="reflect")
        expected = padded[:, top + 4 : top + 4 + h, left + 4 : left + 4 + w]
        expected = expected.flip(2) if flip else expected
        assert torch.equal(found[i].permute(2, 0, 1).float(), expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", [(0, 0, 40, 40), (3, 7, 30, 21), (10, 2, 9, 14), (39, 39, 1, 1)])
def test_resized_crop_as_torchvision(box: tuple[int, int, int, int], flip: bool) -> None:
    images = torch.rand(2, 3, 40, 40)
    found = resize_boxes(images, boxes_of((*box, flip), (0, 0, 40, 40, False)), (24, 20))
    expected = tv.resized_crop(images[:1], *box, size=[24, 20], antialias=True)
    expected = tv.horizontal_flip(expected) if flip else expected
    torch.testing.assert_close(found[:1], expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(
        found[1:], tv.resize(images[1:], [24, 20], antialias=True), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("scale", [SCALE, 0.5])
def test_resized_crop_boxes_are_distributed_as_torchvisions(scale: float) -> None:
    from torchvision.transforms import RandomResizedCrop

    how = Augmentation("resized-crop-flip", (50, 64), (32, 32), scale=scale)
    boxes = how.draw(4000, torch.Generator().manual_seed(0), CPU).boxes
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.top + boxes.height <= 50).all()
    assert (boxes.left + boxes.width <= 64).all()
    image = torch.zeros(3, 50, 64)
    torch.manual_seed(0)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, (scale, 1.0), RATIO) for _ in range(4000)]
    )
    for ours, column in zip(
        (boxes.top, boxes.left, boxes.height, boxes.width), theirs.T, strict=True
    ):
        # Means of 4000 draws: four standard errors of their difference.
        tolerance = 4 * column.std() * (2 / 4000) ** 0.5
        assert ours.double().mean().item() == pytest.approx(column.mean(), abs=tolerance)
    assert boxes.flip is not None
    assert boxes.flip.double().mean().item() == pytest.approx(0.5, abs=0.032)


def test_a_ratio_that_never_fits_takes_the_middle() -> None:
    how = Augmentation("resized-crop-flip", (10, 400), (8, 8))
    boxes = how.draw(500, torch.Generator().manual_seed(0), CPU).boxes
    # torchvision's last resort: full height, the widest allowed ratio, centred.
    middle = (boxes.height == 10) & (boxes.width == 13) & (boxes.left == (400 - 13) // 2)
    assert middle.double().mean() > 0.5
    assert (boxes.top[middle] == 0).all()


def test_crop_reaches_every_place_and_no_other() -> None:
    how = Augmentation("crop", (8, 8), (8, 8), padding=2)
    boxes = how.draw(2000, torch.Generator().manual_seed(0), CPU).boxes
    assert boxes.top.unique().tolist() == boxes.left.unique().tolist() == [-2, -1, 0, 1, 2]
    assert boxes.flip is None


@pytest.mark.parametrize("kind", ["none", "flip", "crop-flip", "resized-crop-flip"])
def test_saliency_goes_through_the_same_motion(tiny: Path, kind: str) -> None:
    split = load_prepared(tiny).split("train")
    how = Augmentation(kind, (8, 8), (8, 8), 2 if kind.startswith("crop") else 0)
    data = DeviceData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, saliency=True)
    (inputs,) = data.inputs([torch.arange(12)])
    batch = data.assemble(inputs, how.draw(12, torch.Generator().manual_seed(1), CPU))
    assert batch.saliency is not None
    # The maps are the images' first channel.
    torch.testing.assert_close(batch.saliency, batch.images[:, 0])
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.labels, torch.from_numpy(split.labels[:12].copy()))


@pytest.mark.parametrize("kind", ["none", "flip", "crop-flip", "resized-crop-flip"])
@pytest.mark.parametrize("place", [DeviceData, HostData])
def test_masks_go_through_the_same_motion(tmp_path: Path, kind: str, place: Any) -> None:
    split = load_prepared(write_rectangles(tmp_path / "data")).split("train")
    marks = np.array(split.masks)
    marks[:, 0] = UNKNOWN  # counts as no object
    split = replace(split, masks=marks, saliency=(marks == OBJECT).astype(np.uint8) * 255)
    how = Augmentation(kind, (12, 12), (12, 12), 2 if kind.startswith("crop") else 0)
    more = {"workers": 0} if place is HostData else {}
    data = place(split, how, (0.0,) * 3, (1.0,) * 3, CPU, saliency=True, masks=True, **more)
    (inputs,) = data.inputs([torch.arange(24)])
    batch = data.assemble(inputs, how.draw(24, torch.Generator().manual_seed(1), CPU))
    assert batch.masks.dtype == torch.uint8
    assert 0 < batch.masks.sum() < batch.masks.numel()
    assert torch.equal(batch.masks, (batch.saliency >= 0.5).byte())


@pytest.mark.parametrize(
    ("kind", "output"), [("resized-crop", (8, 8)), ("resized-crop", (6, 5)), ("crop", (6, 5))]
)
def test_a_batch_is_cut_as_torchvision_cuts(tiny: Path, kind: str, output: Any) -> None:
    split = load_prepared(tiny).split("train")
    how = Augmentation(kind, (8, 8), output)
    data = DeviceData(split, how, (0.0,) * 3, (1.0,) * 3, CPU)
    (inputs,) = data.inputs([torch.arange(12)])
    draws = how.draw(12, torch.Generator().manual_seed(1), CPU)
    boxes = draws.boxes
    pixels = torch.from_numpy(split.images[:12].copy()).permute(0, 3, 1, 2) / 255
    places = zip(pixels, boxes.top, boxes.left, boxes.height, boxes.width, strict=True)
    expected = [
        tv.crop(image, top, left, *output)
        if kind == "crop"
        else tv.resized_crop(image, top, left, height, width, list(output), antialias=True)
        for image, top, left, height, width in places
    ]
    found = data.assemble(inputs, draws).images
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-5, rtol=0)


def test_pixels_are_normalised_and_resized_for_evaluation(tiny: Path) -> None:
    split = load_prepared(tiny).split("test")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    for output in ((8, 8), (6, 5)):
        data = DeviceData(split, Augmentation("none", (8, 8), output), mean, std, CPU)
        (inputs,) = data.inputs([torch.tensor([4, 2])])
        pixels = torch.from_numpy(split.images[[4, 2]].copy()).permute(0, 3, 1, 2) / 255
        expected = tv.normalize(tv.resize(pixels, list(output), antialias=True), mean, std)
        torch.testing.assert_close(data.assemble(inputs).images, expected, atol=2e-5, rtol=0)


def test_whole_images_are_left_as_they_are() -> None:
    images = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(resize_boxes(images, whole(2, (5, 7), CPU), (5, 7)), images)
