"""Bad lists, trimaps and pickles in published archives: one line that names the culprit."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _pet_line(line: str, split: str = "trainval") -> Callable[[Any], dict]:
    def build(make: Any) -> dict:
        lists = make.pet_lists()
        lists[split].append(line)
        return make.pet(lists)

    return build


def _trimap(make: Any, image: Any) -> dict:
    return make.pet(annotations={"annotations/trimaps/Abyssinian_0.png": make.encoded(image)})


# Oxford-IIIT Pet: the archives, and the culprit.
PET: dict[str, tuple[Callable[[Any], dict], str]] = {
    "missing columns": (_pet_line("Abyssinian_9 1 1"), "trainval.txt, line 11"),
    "too many columns": (_pet_line("Abyssinian_9 1 1 1 1"), "trainval.txt, line 11"),
    "unknown breed": (_pet_line("abysinian_9 1 1 1"), "'abysinian'"),
    "class out of range": (_pet_line("Abyssinian_9 38 1 1"), "CLASS-ID 38"),
    "class zero": (_pet_line("Abyssinian_9 0 1 1"), "CLASS-ID 0"),
    "negative class": (_pet_line("Abyssinian_9 -1 1 1"), "must be numbers"),
    "class no number": (_pet_line("Abyssinian_9 one 1 1"), "must be numbers"),
    "breed and class differ": (_pet_line("Abyssinian_9 2 1 1"), "american_bulldog, not Abyssinian"),
    "species out of range": (_pet_line("Abyssinian_9 1 3 1"), "SPECIES 3"),
    "image with a path": (_pet_line("../Abyssinian_9 1 1 1"), "'../Abyssinian_9'"),
    "listed twice": (_pet_line("Abyssinian_0 1 1 1"), "Abyssinian_0 is listed twice"),
    "in both lists": (_pet_line("Abyssinian_0 1 1 1", "test"), "Abyssinian_0 is in both"),
    "breed only in test": (_pet_line("boxer_1 9 2 1", "test"), "Boxer"),
    "no image": (_pet_line("Abyssinian_9 1 1 1"), "trainval.txt, line 11"),
    "image missing": (
        lambda make: make.pet(images={"images/beagle_4.jpg": None}),
        "images/beagle_4.jpg",
    ),
    "image damaged": (
        lambda make: make.pet(images={"images/beagle_4.jpg": b"\xff\xd8\xff"}),
        "images/beagle_4.jpg",
    ),
    "list missing": (
        lambda make: make.pet(annotations={"annotations/test.txt": None}),
        "annotations/test.txt",
    ),
    "list empty": (
        lambda make: make.pet(annotations={"annotations/test.txt": b"# nothing\n"}),
        "annotations/test.txt",
    ),
    "list binary": (
        lambda make: make.pet(annotations={"annotations/test.txt": b"\xff\xfe\x00"}),
        "annotations/test.txt",
    ),
    "trimap values": (
        lambda make: _trimap(make, np.full((8, 8), 4, dtype=np.uint8)),
        "trimaps/Abyssinian_0.png",
    ),
    "trimap in colour": (lambda make: _trimap(make, 3), "trimaps/Abyssinian_0.png"),
    "trimap damaged": (
        lambda make: make.pet(annotations={"annotations/trimaps/Abyssinian_0.png": b"x"}),
        "trimaps/Abyssinian_0.png",
    ),
}
PET["no image"] = (
    lambda make: make.pet({"trainval": [], "test": make.pet_lists()["test"]}),
    "trainval.txt does not list any image",
)


@pytest.mark.parametrize("case", PET)
def test_bad_pet_annotations_are_named(case: str, bench: Any, make: Any) -> None:
    build, culprit = PET[case]
    bench.refused(bench.published("oxford_pet", build(make)), culprit, stage="prepare")


class _Evil:
    """Unpickled without care, this runs a command."""

    def __reduce__(self) -> tuple:
        import os

        return os.system, ("echo executed > executed",)


def _batch(make: Any, **change: Any) -> bytes:
    content = {
        "data": np.zeros((2, 3072), dtype=np.uint8),
        "labels": [0, 1],
        "filenames": ["a", "b"],
    } | change
    return make.python2_pickle({key: value for key, value in content.items() if value is not None})


# CIFAR-10: other bytes for data_batch_1 (None: left out).
CIFAR: dict[str, Callable[[Any], bytes | None]] = {
    "missing": lambda make: None,
    "no pickle": lambda make: b"no pickle",
    "cut": lambda make: _batch(make)[:-100],
    "runs a command": lambda make: pickle.dumps({"data": _Evil()}, protocol=2),
    "another class": lambda make: pickle.dumps({"data": Image.new("L", (1, 1))}, protocol=2),
    "a list": lambda make: make.python2_pickle([1, 2]),
    "no data": lambda make: _batch(make, data=None),
    "no labels": lambda make: _batch(make, labels=None),
    "objects": lambda make: _batch(make, data=np.array([None, None])),
    "wrong shape": lambda make: _batch(make, data=np.zeros((2, 3071), dtype=np.uint8)),
    "too few labels": lambda make: _batch(make, labels=[0]),
    "label out of range": lambda make: _batch(make, labels=[0, 2]),
    "negative label": lambda make: _batch(make, labels=[0, -1]),
    "label no number": lambda make: _batch(make, labels=[0, "frog"]),
}


@pytest.mark.parametrize("case", CIFAR)
def test_a_bad_cifar_batch_is_named(case: str, bench: Any, make: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(bench.folder)
    archive = make.tarred(make.cifar(data_batch_1=CIFAR[case](make)))
    settings = bench.published("cifar10", {"cifar-10-python.tar.gz": archive})
    bench.refused(settings, "data_batch_1", stage="prepare")
    assert not (bench.folder / "executed").exists()
