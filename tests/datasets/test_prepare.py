"""Preparation of digits, CIFAR and Pet: the archives' content, splits, reproducible bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from saliencymixplus.datasets.content import channel_statistics
from saliencymixplus.datasets.fine_grained import fine_grained
from saliencymixplus.datasets.prepare import prepare
from saliencymixplus.datasets.prepared import Prepared, load_prepared
from saliencymixplus.datasets.splits import stratified
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DataSettings, DownloadSettings

PLAIN = (
    "classes in which each picture has one colour only: Abyssinian (train), American Bulldog "
    "(train), Beagle (train), …"
)
DIGITS = DownloadSettings(source="digits")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_digits_are_scikit_learns(bench: Any) -> None:
    prepared: Prepared = bench.run(DIGITS, image_size=8)
    truth = load_digits()
    seen = []
    for split in map(prepared.split, ("train", "test")):
        rows = [int(name.removeprefix("digit_")) for name in split.files]
        seen += rows
        np.testing.assert_array_equal(split.labels, truth.target[rows])
        expected = np.rint(truth.images[rows] * 255 / 16)
        for channel in range(3):
            np.testing.assert_array_equal(split.images[..., channel], expected)
        np.testing.assert_array_equal(split.masks, expected >= 64)
    assert sorted(seen) == list(range(1797))
    assert prepared.meta.counts == {"train": 1437, "test": 360}


def test_the_default_digits(bench: Any) -> None:
    prepared: Prepared = bench.run(DIGITS, image_size=16, validation_fraction=0.15)
    assert prepared.splits == ("train", "val", "test")
    assert prepared.meta.counts == {"train": 1221, "val": 216, "test": 360}
    for name, count in prepared.meta.counts.items():
        split = prepared.split(name)
        assert split.images.shape == (count, 16, 16, 3)
        # Stratified: every digit within two of a tenth.
        assert np.abs(np.bincount(split.labels) - count / 10).max() <= 2 + count * 0.005
        np.testing.assert_array_equal(split.saliency[:5], fine_grained(np.array(split.images[:5])))
    files = [set(prepared.split(name).files) for name in prepared.splits]
    assert len(set.union(*files)) == sum(map(len, files)) == 1797


def test_the_validation_split_comes_from_train_only(bench: Any) -> None:
    without = bench.run(DIGITS)
    test = _test_arrays(without)
    train = set(without.split("train").files)
    seeds = []
    for seed in (0, 0, 1):
        with_val = bench.run(DIGITS, validation_fraction=0.2, split_seed=seed)
        assert _test_arrays(with_val) == test
        seeds.append(set(with_val.split("val").files))
        assert seeds[-1] < train
    assert seeds[0] == seeds[1] != seeds[2]


def _test_arrays(prepared: Prepared) -> dict[str, bytes]:
    return {n: b for n, b in _bytes(prepared.path).items() if n.startswith("test_")}


def test_preparing_twice_gives_equal_bytes(bench: Any, make: Any) -> None:
    settings = bench.published("oxford_pet", make.pet())
    first = _bytes(bench.run(settings, validation_fraction=0.4).path)
    bench.prepared = bench.folder / "elsewhere" / "other name"
    assert _bytes(bench.run(settings, validation_fraction=0.4).path) == first


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
def test_cifar_in_the_publishers_layout(source: str, bench: Any, make: Any) -> None:
    name = "cifar-10-python.tar.gz" if source == "cifar10" else "cifar-100-python.tar.gz"
    archive = make.tarred(make.cifar(source))
    prepared = bench.run(bench.published(source, {name: archive}), image_size=32)
    train, test = prepared.split("train"), prepared.split("test")
    batches = 5 if source == "cifar10" else 1
    assert prepared.meta.classes == ["plane", "frog"]
    assert prepared.meta.counts == {"train": 4 * batches, "test": 4}
    assert train.labels.tolist() == [0, 1, 0, 1] * batches
    first = "data_batch_1" if source == "cifar10" else "train"
    assert train.files[0] == f"train/{first}_0.png"
    for split, start in ((train, 0), (test, 4 * batches)):
        assert (split.images[..., 0] == np.arange(start, start + len(split))[:, None, None]).all()
        odd = np.arange(len(split))[:, None, None] % 2
        assert (split.images[..., 1] == 100 + odd).all()
        assert (split.images[..., 2] == 200 + odd).all()
    assert train.masks is None


def test_cifar_pixels_lie_in_rows(bench: Any, make: Any) -> None:
    # The publisher: "the first 32 entries are the red channel values of the first row".
    data = np.arange(3072).astype(np.uint8)[None]
    batch = make.python2_pickle({"data": data, "labels": [0], "filenames": ["a"]})
    archive = make.tarred(make.cifar(data_batch_1=batch))
    settings = bench.published("cifar10", {"cifar-10-python.tar.gz": archive})
    image = bench.run(settings, image_size=32).split("train").images[0]
    assert image[0, :, 0].tolist() == list(range(32))
    assert image[1, 0, 0] == 32
    assert image[0, 5, 1] == (1024 + 5) % 256


def test_pet_in_the_publishers_layout(bench: Any, make: Any) -> None:
    prepared = bench.run(bench.published("oxford_pet", make.pet()))
    assert prepared.meta.classes == ["Abyssinian", "American Bulldog", "Beagle"]
    assert prepared.meta.counts == {"train": 9, "test": 6}
    train, test = prepared.split("train"), prepared.split("test")
    assert train.files[:4] == [f"images/Abyssinian_{i}.jpg" for i in range(3)] + [
        "images/american_bulldog_0.jpg"
    ]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert (
        np.abs(train.images[:, 4, 4, 0] - np.array([10, 50, 90, 20, 60, 100, 30, 70, 110])).max()
        <= 1
    )
    assert np.abs(test.images[:, 4, 4, 0] - np.array([130, 170, 140, 180, 150, 190])).max() <= 1
    expected = np.zeros((8, 8), dtype=np.uint8)
    expected[2:6, 2:6], expected[0] = 1, 2
    np.testing.assert_array_equal(train.masks[:6], np.broadcast_to(expected, (6, 8, 8)))
    assert (train.masks[6:] == 2).all()  # no beagle has a trimap
    assert prepared.meta.notes == [PLAIN]


def test_breeds_without_test_images_are_a_note(bench: Any, make: Any) -> None:
    lists = make.pet_lists()
    lists["test"] = [line for line in lists["test"] if "beagle" not in line]
    prepared = bench.run(bench.published("oxford_pet", make.pet(lists)))
    assert len(prepared.meta.classes) == 3
    assert prepared.meta.notes == ["1 of 3 breeds have no test image: Beagle", PLAIN]
    assert f"note: {prepared.meta.notes[0]}" in bench.lines


def test_pet_without_trimaps_has_no_masks(bench: Any, make: Any) -> None:
    names = [f"annotations/trimaps/{breed}_{i}.png" for breed in ("Abyssinian", "american_bulldog")
             for i in range(5)]  # fmt: skip
    archives = make.pet(annotations=dict.fromkeys(names))
    assert bench.run(bench.published("oxford_pet", archives)).split("train").masks is None


def test_mean_and_standard_deviation_are_those_of_train(bench: Any) -> None:
    prepared = bench.run(DIGITS, validation_fraction=0.15)
    pixels = prepared.split("train").images / 255
    np.testing.assert_allclose(prepared.meta.mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(prepared.meta.std, pixels.std((0, 1, 2)), rtol=1e-12)
    fixed = bench.run(DIGITS, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)).meta
    assert (fixed.mean, fixed.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_constant_channel_is_refused() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    images[..., 2] = 51
    with pytest.raises(UserError, match="blue is 51 in every pixel"):
        channel_statistics(images)


def test_the_digest_tells_contents_apart(bench: Any) -> None:
    digests = [
        bench.run(DIGITS, **data).meta.digest
        for data in ({}, {"image_size": 9}, {"validation_fraction": 0.2}, {})
    ]
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


def test_a_download_that_has_changed_is_not_prepared(bench: Any, make: Any) -> None:
    settings = bench.own(make.tarred(make.photos()))
    folder = bench.download(settings)
    with (folder / "photos.tar.gz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="has changed since its download"):
        prepare(DataSettings(image_size=8), folder, bench.prepared)
    assert not bench.prepared.exists()


def test_a_failure_keeps_what_was_prepared_before(bench: Any, make: Any) -> None:
    before = _bytes(bench.run(bench.own(make.tarred(make.photos()))).path)
    bad = bench.own(make.tarred(make.photos() | {"train/cat/bad.png": b"x"}))
    with pytest.raises(UserError, match="bad"):
        bench.run(bad)
    assert _bytes(bench.prepared) == before
    load_prepared(bench.prepared)
    assert bench.leftovers() == []


def test_nothing_to_prepare_says_what_to_run(bench: Any) -> None:
    with pytest.raises(UserError, match="run `download`"):
        prepare(DataSettings(), bench.downloads, bench.prepared)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_stratified_keeps_proportions(fraction: float) -> None:
    labels = np.repeat([0, 1, 2], [200, 100, 40])
    kept, off = stratified(labels, fraction, seed=3)
    assert np.bincount(labels[off]).tolist() == [200 * fraction, 100 * fraction, 40 * fraction]
    assert sorted([*kept, *off]) == list(range(340))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(off) > 0).all()
