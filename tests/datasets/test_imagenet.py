"""ImageNet's folder in the layouts of torchvision and Kaggle, in miniature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.settings import DownloadSettings
from tests.archives import imagenet, sha256


def written(folder: Path, files: Mapping[str, bytes]) -> DownloadSettings:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return DownloadSettings(source="imagenet", path=str(folder))


def kaggle() -> dict[str, bytes]:
    """The same pictures with a flat val, and its classes in a table."""
    files, rows = {}, ["ImageId,PredictionString"]
    for name, content in imagenet().items():
        split, _, rest = name.partition("/")
        if split == "val":
            code, _, picture = rest.partition("/")
            rows.append(f"{picture.removesuffix('.JPEG')},{code} 1 2 3 4 {code} 5 6 7 8")
            rest = picture
        inside = f"ILSVRC/Data/CLS-LOC/{split}/{rest}" if rest else name
        files[inside] = content
    files["ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_1.JPEG"] = b"has no label"
    return files | {"LOC_val_solution.csv": "\n".join(rows).encode()}


@pytest.mark.parametrize("layout", [imagenet, kaggle])
def test_the_folder_in_both_layouts(layout: Any, bench: Any) -> None:
    prepared = bench.run(written(bench.folder / "ILSVRC2012", layout()))
    assert prepared.meta.classes == ["tench", "goldfish"]  # by code, as in torchvision
    assert prepared.meta.counts == {"train": 4, "test": 2}
    found = {
        (name, int(label), round(int(image[4, 4, 0]) / 10) * 10)
        for name in prepared.splits
        for label, image in zip(
            prepared.split(name).labels, prepared.split(name).images, strict=True
        )
    }
    assert found == {
        *(("train", 1, 10), ("train", 1, 20), ("test", 1, 30)),
        *(("train", 0, 40), ("train", 0, 50), ("test", 0, 60)),
    }


def test_without_names_the_classes_are_called_by_their_codes(bench: Any) -> None:
    files = {name: content for name, content in imagenet().items() if "/" in name}
    prepared = bench.run(written(bench.folder / "ILSVRC2012", files))
    assert prepared.meta.classes == ["n01440764", "n01443537"]


def test_a_checksum_in_the_settings_is_that_of_the_packed_folder(bench: Any) -> None:
    settings = written(bench.folder / "ILSVRC2012", imagenet())
    packed = (bench.download(settings) / "images.tar").read_bytes()
    good = settings.model_copy(update={"sha256": {"images.tar": sha256(packed)}})
    assert (bench.download(good) / "images.tar").read_bytes() == packed
    wrong = settings.model_copy(update={"sha256": {"images.tar": "0" * 64}})
    with pytest.raises(Exception, match=r"images\.tar has SHA-256"):
        bench.download(wrong)


def without(part: str) -> dict[str, bytes]:
    return {name: content for name, content in imagenet().items() if not name.startswith(part)}


def flat() -> dict[str, bytes]:
    return without("val/") | {"val/ILSVRC2012_val_00000001.JPEG": b""}


@pytest.mark.parametrize(
    ("files", "culprit"),
    [
        (without("train/"), "image-net.org"),
        (without("val/"), "image-net.org"),
        (without("train/n01440764"), "class n01440764 has no folder in train/"),
        (imagenet() | {"train/cats/1.JPEG": b""}, "cats is not a class of ImageNet"),
        (imagenet() | {"train/n01440764/list.txt": b""}, "list.txt is not a picture"),
        (flat(), "LOC_val_solution.csv"),
        (flat() | {"LOC_val_solution.csv": b"a,b\n1,2\n"}, "not Kaggle's table"),
        (
            flat() | {"LOC_val_solution.csv": b"ImageId,PredictionString\nx,n01440764 1\n"},
            "no class for ILSVRC2012_val_00000001.JPEG",
        ),
        (
            flat() | {"LOC_val_solution.csv": b"ImageId,PredictionString\nx,../up 1\n"},
            "'../up', which is not a class",
        ),
    ],
)
def test_what_is_not_as_it_must_be_is_named(
    files: dict[str, bytes], culprit: str, bench: Any
) -> None:
    bench.refused(written(bench.folder / "ILSVRC2012", files), culprit)


def test_it_is_not_downloaded(bench: Any) -> None:
    bench.refused(DownloadSettings(source="imagenet"), "both need an account")
    bench.refused(DownloadSettings(source="imagenet", mirror="x"), "imagenet is not downloaded")
    missing = DownloadSettings(source="imagenet", path="/no/such/folder")
    bench.refused(missing, "/no/such/folder is not a folder")
