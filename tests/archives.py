"""Small archives in the publishers' layouts and in those of users' own pictures."""

import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

SIZE = 8


def encoded(image: Any, form: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file; ``image`` is an array, a PIL image or a grey level."""
    if isinstance(image, int):
        image = np.full((SIZE, SIZE, 3), image, dtype=np.uint8)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes | tarfile.TarInfo | None], mode: str = "w:gz") -> bytes:
    """A tar: name -> content, None for a folder, or a header as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip: name -> content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """The header of a link or device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def photos(train: int = 3, test: int = 2, classes: tuple[str, ...] = ("cat", "dog")) -> dict:
    """train/CLASS/n.png and test/CLASS/n.png; each picture has a grey level of its own."""
    files: dict[str, Any] = {}
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            for i in range(count):
                files[f"{split}/{name}/{i}.png"] = encoded(len(files) * 5)
    return files


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes texts as Python 2 did, which is how the publisher's files are."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _text(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _text


def python2_pickle(value: Any) -> bytes:
    """``value`` as Python 2 with numpy 1 would have pickled it."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar(source: str = "cifar10", per_batch: int = 4, **replace: Any) -> dict[str, bytes]:
    """The files of a CIFAR archive; ``replace`` gives other bytes for one (None: left out).

    Image k is k in the red channel, 100 and 200 in the others, one more where k is odd.
    """
    ten = source == "cifar10"
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    batches = batches if ten else ["train", "test"]
    label_key = "labels" if ten else "fine_labels"
    names = {"label_names" if ten else "fine_label_names": ["plane", "frog"]}
    content = {"batches.meta" if ten else "meta": python2_pickle(names)}
    for b, batch in enumerate(batches):
        data = np.zeros((per_batch, 3, 32 * 32), dtype=np.uint8)
        data[:, 0] = np.arange(b * per_batch, (b + 1) * per_batch)[:, None]
        data[:, 1:] = np.array([100, 200])[:, None] + np.arange(per_batch)[:, None, None] % 2
        content[batch] = python2_pickle(
            {
                "batch_label": "a batch",
                "data": data.reshape(per_batch, -1),
                label_key: [i % 2 for i in range(per_batch)],
                "filenames": [f"{batch}_{i}.png" for i in range(per_batch)],
            }
        )
    content |= replace
    folder = "cifar-10-batches-py" if ten else "cifar-100-python"
    return {f"{folder}/{name}": data for name, data in content.items() if data is not None}


PETS = {"Abyssinian": (1, 1), "american_bulldog": (2, 2), "beagle": (5, 2)}


def pet_lists(train: int = 3, test: int = 2) -> dict[str, list[str]]:
    """The lines of trainval.txt and test.txt for three breeds."""
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for breed, (number, species) in PETS.items():
        for i in range(train + test):
            lists["trainval" if i < train else "test"].append(f"{breed}_{i} {number} {species} 1")
    return lists


def pet(lists: dict[str, list[str]] | None = None, **change: Any) -> dict[str, bytes]:
    """Both archives of a tiny Oxford-IIIT Pet; the last breed has no trimaps.

    ``change`` may hold ``images`` and ``annotations``: files to add or (None) leave out.
    """
    lists = lists or pet_lists()
    images: dict[str, Any] = {"images": None, "images/notes.mat": b"not a picture"}
    annotations: dict[str, Any] = {
        "annotations": None,
        "annotations/README": b"text",
        "annotations/trainval.txt": "\n".join(["#Image CLASS-ID", *lists["trainval"]]).encode(),
        "annotations/test.txt": "\n".join(lists["test"]).encode(),
        "annotations/trimaps/._Abyssinian_0.png": b"what macOS leaves",
    }
    trimap = np.full((SIZE, SIZE), 2, dtype=np.uint8)
    trimap[2:6, 2:6], trimap[0] = 1, 3
    for b, breed in enumerate(PETS):
        for i in range(5):
            images[f"images/{breed}_{i}.jpg"] = encoded(40 * i + 10 * b + 10, "JPEG")
            if breed != "beagle":
                annotations[f"annotations/trimaps/{breed}_{i}.png"] = encoded(trimap)
    archives = {"images.tar.gz": images, "annotations.tar.gz": annotations}
    for archive, files in archives.items():
        for name, content in change.get(archive.partition(".")[0], {}).items():
            files[name] = content
            if content is None:
                del files[name]
    return {archive: tarred(files) for archive, files in archives.items()}


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def imagenet(train: int = 2, val: int = 1) -> dict[str, bytes]:
    """ImageNet's folder with two classes: so many pictures of each, grey levels 10, 20, …"""
    names = b"n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
    files, level = {"LOC_synset_mapping.txt": names}, 0
    for code in ("n01443537", "n01440764"):
        for split, count in (("train", train), ("val", val)):
            for i in range(count):
                level += 10
                name = f"{code}_{i}" if split == "train" else f"ILSVRC2012_val_{level:08d}"
                files[f"{split}/{code}/{name}.JPEG"] = encoded(level, "JPEG")
    return files
