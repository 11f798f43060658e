"""Lay out three breeds of Oxford-IIIT Pet as an image folder, with masks from the trimaps.

    python study/three_breeds.py ARCHIVES pets3

ARCHIVES holds the publisher's images.tar.gz and annotations.tar.gz. The split is the official one.
"""

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

BREEDS = ("1", "2", "6")  # Abyssinian, American Bulldog, Bengal
ANIMAL = 1  # in a trimap; 2 is background, 3 the border


def lay_out(archives: Path, output: Path) -> None:
    """Write ``output/SPLIT/BREED/*.jpg`` and ``output/masks/SPLIT/BREED/*.png``."""
    annotations = dict(_files(archives / "annotations.tar.gz"))
    folders = {
        image: Path(split, image.rpartition("_")[0])
        for split, name in (("train", "trainval"), ("test", "test"))
        for image, breed, *_ in map(
            str.split, annotations[f"annotations/{name}.txt"].decode().splitlines()
        )
        if breed in BREEDS
    }
    for image, folder in folders.items():
        trimap = Image.open(io.BytesIO(annotations[f"annotations/trimaps/{image}.png"]))
        path = output / "masks" / folder / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(trimap) == ANIMAL).save(path)
    for name, content in _files(archives / "images.tar.gz"):
        image = Path(name).stem
        if name.endswith(".jpg") and image in folders:
            path = output / folders[image] / f"{image}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents, in the archive's order: seeking back would decompress it anew."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if file := tar.extractfile(member):
                yield member.name, file.read()


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]), Path(sys.argv[2]))
