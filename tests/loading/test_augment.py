"""Augmentation and batches against torchvision and against plain indexing."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from saliencymixplus.datasets.prepared import OBJECT, UNKNOWN, load_prepared
from saliencymixplus.loading import batches
from saliencymixplus.loading.augment import (
    RATIO,
    SCALE,
    Augmentation,
    Boxes,
    gather,
    resize_boxes,
    whole,
)
from saliencymixplus.loading.batches import BatchSource, DeviceData, ShardData
from saliencymixplus.loading.erasing import Erasing
from saliencymixplus.loading.loader import HostData, _Rows, open_sources
from saliencymixplus.loading.policy import Policy
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


def test_maps_that_no_method_takes_are_not_held(tiny: Path) -> None:
    split, how = load_prepared(tiny).split("train"), Augmentation("none", (8, 8), (8, 8))
    rest = (how, (0.0,) * 3, (1.0,) * 3, CPU)
    without = replace(split, saliency=None)
    for source in (
        *(kind(split, *rest) for kind in (DeviceData, ShardData)),
        *(kind(without, *rest, saliency=True) for kind in (DeviceData, ShardData)),
        HostData(split, *rest, workers=0),
        HostData(without, *rest, saliency=True, workers=0),
    ):
        (inputs,) = source.inputs([torch.arange(4)])
        assert source.assemble(inputs).saliency is None


def test_reading_from_the_host_leaves_torchs_own_generator_alone(tiny: Path) -> None:
    split, how = load_prepared(tiny).split("train"), Augmentation("none", (8, 8), (8, 8))
    source = HostData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, workers=0)
    before = torch.random.get_rng_state()
    assert len(list(source.inputs(torch.arange(8).split(4)))) == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_worker_is_handed_the_name_of_a_file_and_not_its_content(tiny: Path) -> None:
    split = load_prepared(tiny).split("train")
    assert len(pickle.dumps(_Rows([split.images, split.labels]))) < split.images.nbytes / 4


def test_the_host_reads_one_batch_ahead(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, how = load_prepared(tiny).split("train"), Augmentation("none", (8, 8), (8, 8))
    seen: list[int] = []
    read = _Rows.__getitem__
    monkeypatch.setattr(
        _Rows, "__getitem__", lambda self, rows: (seen.append(len(rows)), read(self, rows))[1]
    )
    source = HostData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, workers=0)
    used = [len(seen) for _ in source.inputs(torch.arange(16).split(4))]
    assert used == [2, 3, 4, 4]


def test_pixels_are_normalised_and_resized_for_evaluation(tiny: Path) -> None:
    split = load_prepared(tiny).split("test")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    for output in ((8, 8), (6, 5)):
        data = DeviceData(split, Augmentation("none", (8, 8), output), mean, std, CPU)
        (inputs,) = data.inputs([torch.tensor([4, 2])])
        pixels = torch.from_numpy(split.images[[4, 2]].copy()).permute(0, 3, 1, 2) / 255
        expected = tv.normalize(tv.resize(pixels, list(output), antialias=True), mean, std)
        torch.testing.assert_close(data.assemble(inputs).images, expected, atol=2e-5, rtol=0)


def test_sources_give_the_same_batches_wherever_the_images_are(tiny: Path) -> None:
    split = load_prepared(tiny).split("train")
    more = {"policy": Policy("randaugment", (8, 8)), "erasing": Erasing(0.5, noise=True)}
    how = Augmentation("crop-flip", (8, 8), (8, 8), 1, reflect=True, **more)
    common = (split, how, (0.4,) * 3, (0.25,) * 3, CPU)
    sources: list[BatchSource] = [DeviceData(*common, saliency=True)]
    sources += [HostData(*common, saliency=True, workers=n) for n in (0, 1, 2)]
    sources.append(ShardData(*common, saliency=True))
    epochs = [torch.randperm(50).split(16), torch.randperm(50).split(16)]
    seen = []
    for source in sources:
        generator = torch.Generator().manual_seed(3)
        batches = [source.inputs(epoch) for epoch in epochs]
        seen.append(
            [
                source.assemble(inputs, how.draw(len(inputs[0]), generator, CPU))
                for batch in batches
                for inputs in batch
            ]
        )
    assert [len(batch.labels) for batch in seen[0]] == [16, 16, 16, 2] * 2
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.labels, b.labels)
            assert a.saliency is not None
            assert b.saliency is not None
            assert torch.equal(a.saliency, b.saliency)


def test_each_of_several_processes_holds_its_part_of_an_epoch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_PIECE", 23)  # more than one goes to the device
    split = load_prepared(tiny).split("train")
    how = Augmentation("none", (8, 8), (8, 8))
    source = ShardData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, saliency=True)
    for epoch in range(2):
        order = torch.randperm(50, generator=torch.Generator().manual_seed(epoch))
        mine = [batch[4:8] for batch in order.split(8)]
        for rows, inputs in zip(mine, source.inputs(mine), strict=True):
            assert {len(held) for held in source._held.values()} == {24}
            batch = source.assemble(inputs)
            assert torch.equal(batch.labels, torch.from_numpy(split.labels[rows.numpy()]))
            pixels = torch.from_numpy(split.images[rows.numpy()]).permute(0, 3, 1, 2) / 255
            torch.testing.assert_close(batch.images, pixels)
    assert list(source.inputs([])) == []
    assert list(DeviceData(split, how, (0.0,) * 3, (1.0,) * 3, CPU).inputs([])) == []


def test_where_the_images_live_follows_from_what_fits(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, how = load_prepared(tiny), Augmentation("none", (8, 8), (8, 8))
    needed = sum(data.meta.counts.values()) * (8 * 8 * 3 + 8)
    for free, processes, kind in (
        (3 * needed, 2, DeviceData),
        (2 * needed, 2, ShardData),
        (2 * needed, 1, HostData),
        (1 * needed, 2, HostData),
        (1 * needed, 4, ShardData),
    ):
        monkeypatch.setattr("saliencymixplus.loading.loader.free_memory", lambda device, n=free: n)
        sources = open_sources(
            data, how, CPU, saliency=False, workers=0, processes=processes, say=str
        )
        assert {type(source) for source in sources.values()} == {kind}, (free, processes)
    sources = open_sources(data, how, CPU, saliency=False, place="shard", say=str)
    assert type(sources["train"]) is DeviceData  # the part of one process is everything


def test_what_is_needed_are_all_images_and_the_training_maps(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, how = load_prepared(tiny), Augmentation("none", (8, 8), (8, 8))
    plain = sum(data.meta.counts.values()) * (8 * 8 * 3 + 8)
    for saliency, needed in ((False, plain), (True, plain + 50 * 8 * 8)):
        for spare, kind in ((10, DeviceData), (-10, HostData)):
            free = int(needed / 0.4) + spare
            monkeypatch.setattr(
                "saliencymixplus.loading.loader.free_memory", lambda device, n=free: n
            )
            sources = open_sources(data, how, CPU, saliency=saliency, workers=0, say=str)
            assert type(sources["train"]) is kind


def test_data_that_do_not_fit_stay_on_the_host(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Augmentation("none", (8, 8), (8, 8))
    said: list[str] = []
    monkeypatch.setattr("saliencymixplus.loading.loader.free_memory", lambda device: 10_000)
    sources = open_sources(
        load_prepared(tiny), how, CPU, saliency=False, workers=0, say=said.append
    )
    assert isinstance(sources["train"], HostData)
    assert "worker" in said[0]
    monkeypatch.setattr("saliencymixplus.loading.loader.free_memory", lambda device: 10**9)
    sources = open_sources(load_prepared(tiny), how, CPU, saliency=False, say=said.append)
    assert isinstance(sources["train"], DeviceData)


def test_whole_images_are_left_as_they_are() -> None:
    images = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(resize_boxes(images, whole(2, (5, 7), CPU), (5, 7)), images)


@pytest.mark.parametrize("place", ["device", "host"])
def test_only_training_images_are_augmented_and_have_maps(tiny: Path, place: str) -> None:
    how = Augmentation("crop-flip", (8, 8), (6, 6), 1)
    sources = open_sources(
        load_prepared(tiny), how, CPU, saliency=True, place=place, workers=0, say=str
    )
    for name, source in sources.items():
        kept = how if name == "train" else Augmentation("none", (8, 8), (6, 6))
        assert source.augmentation == kept
        assert not isinstance(source, HostData) or source._loader.num_workers == 0
        (inputs,) = source.inputs([torch.arange(4)])
        batch = source.assemble(inputs)
        assert batch.images.shape == (4, 3, 6, 6)
        assert (batch.saliency is not None) == (name == "train")
