"""Batch sources give the same batches wherever the images are."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.loading import batches
from saliencymixplus.loading.augment import (
    Augmentation,
)
from saliencymixplus.loading.batches import BatchSource, DeviceData, ShardData
from saliencymixplus.loading.erasing import Erasing
from saliencymixplus.loading.loader import HostData, SplitRows, open_sources
from saliencymixplus.loading.policy import Policy

CPU = torch.device("cpu")


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
    assert len(pickle.dumps(SplitRows([split.images, split.labels]))) < split.images.nbytes / 4


def test_the_host_reads_one_batch_ahead(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, how = load_prepared(tiny).split("train"), Augmentation("none", (8, 8), (8, 8))
    seen: list[int] = []
    read = SplitRows.__getitem__
    monkeypatch.setattr(
        SplitRows, "__getitem__", lambda self, rows: (seen.append(len(rows)), read(self, rows))[1]
    )
    source = HostData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, workers=0)
    used = [len(seen) for _ in source.inputs(torch.arange(16).split(4))]
    assert used == [2, 3, 4, 4]


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
    monkeypatch.setattr(batches, "PIECE", 23)  # more than one goes to the device
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
