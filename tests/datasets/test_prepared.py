"""Prepared folders that are incomplete, truncated, changed or inconsistent are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliencymixplus.datasets.prepared import Prepared, arrays_digest, load_prepared
from saliencymixplus.errors import UserError


@pytest.fixture
def prepared(bench: Any, make: Any) -> Prepared:
    """Eight pictures of two classes, two of them for validation."""
    return bench.run(bench.own(make.tarred(make.photos())), validation_fraction=0.3)


def _edit(**change: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "meta.json"
        meta = json.loads(path.read_text()) | change
        path.write_text(json.dumps({k: v for k, v in meta.items() if v is not None}))

    return edit


def _replace(name: str, array: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, array)


def _cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


ZEROS = np.zeros((4, 8, 8, 3), dtype=np.uint8)
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no meta": (lambda folder: (folder / "meta.json").unlink(), "run `prepare`"),
    "meta no json": (lambda folder: (folder / "meta.json").write_text("{"), "meta.json"),
    "meta a list": (lambda folder: (folder / "meta.json").write_text("[]"), "meta.json"),
    "meta lacks a key": (_edit(mean=None), "mean"),
    "meta with another key": (_edit(extra=1), "extra"),
    "negative count": (_edit(counts={"train": -1, "test": 4}), "empty split"),
    "no test": (_edit(counts={"train": 4}), "splits"),
    "unknown split": (_edit(counts={"train": 4, "test": 4, "dev": 1}), "splits"),
    "duplicate class": (_edit(classes=["cat", "cat"]), "a duplicate class"),
    "zero deviation": (_edit(std=[1, 1, 0]), "out of range"),
    "other size": (_edit(image_size=[9, 8]), "train_images.npy"),
    "other count": (_edit(counts={"train": 5, "val": 2, "test": 4}), "train_images.npy"),
    "fewer classes": (_edit(classes=["cat", "dog"][:1]), "out of range"),
    "masks claimed": (_edit(has_masks=True), "train_masks.npy"),
    "array missing": (lambda folder: (folder / "val_images.npy").unlink(), "val_images.npy"),
    "array cut": (_cut("test_saliency.npy"), "test_saliency.npy"),
    "array empty": (lambda folder: (folder / "val_images.npy").write_bytes(b""), "val_images.npy"),
    "array of another type": (_replace("train_images.npy", ZEROS.astype("i1")), "train_images.npy"),
    "labels too large": (_replace("train_labels.npy", np.array([0, 1, 2, 0])), "train_labels.npy"),
    "labels negative": (_replace("train_labels.npy", np.array([0, 1, -1, 0])), "train_labels.npy"),
    "pickled objects": (
        _replace("train_labels.npy", np.array([None] * 4)),
        "train_labels.npy",
    ),
    "names missing": (lambda folder: (folder / "val_files.json").unlink(), "val_files.json"),
    "names too few": (
        lambda folder: (folder / "val_files.json").write_text('["a"]'),
        "val_files.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(case: str, prepared: Prepared) -> None:
    damage, culprit = DAMAGE[case]
    damage(prepared.path)
    with pytest.raises(UserError) as caught:
        load_prepared(prepared.path)
    assert culprit in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["images", "labels", "saliency"])
def test_the_digest_differs_for_a_single_changed_value(kind: str, prepared: Prepared) -> None:
    assert arrays_digest(prepared.path, prepared.meta) == prepared.meta.digest
    path = prepared.path / f"test_{kind}.npy"
    array = np.load(path)
    array.flat[-1] ^= 1
    np.save(path, array)
    assert arrays_digest(prepared.path, prepared.meta) != prepared.meta.digest


def test_arrays_are_mapped_and_read_only(prepared: Prepared) -> None:
    split = prepared.split("train")
    assert isinstance(split.images, np.memmap)
    assert len(split) == 4
    assert split.labels.dtype == np.int64
    for array in (split.images, split.labels, split.saliency):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_missing_split_says_how_to_get_it(bench: Any, make: Any) -> None:
    plain = bench.run(bench.own(make.tarred(make.photos())))
    with pytest.raises(UserError, match="validation_fraction"):
        plain.split("val")
    with pytest.raises(UserError, match="did you mean 'train'"):
        plain.split("trian")
