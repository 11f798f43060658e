"""Published data sets, from tiny archives in their publishers' layouts."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from saliencymixplus.errors import UserError
from tests.archives import encoded, tarred, zipped

Archives = dict[str, bytes]
# What every layout below holds: split, class and grey level of each picture.
PICTURES = [
    ("train", 0, 10), ("train", 1, 40), ("train", 0, 70), ("test", 1, 100), ("test", 0, 130),
]  # fmt: skip


def _jpeg(level: int) -> bytes:
    return encoded(level, "JPEG")


def _lines(rows: Any) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _mat(**values: Any) -> bytes:
    buffer = BytesIO()
    savemat(buffer, values)
    return buffer.getvalue()


def cub200() -> tuple[Archives, list[str]]:
    names = ["001.Black_footed_Albatross", "002.Crow"]
    files = [f"{names[label]}/Bird_{level}.jpg" for _, label, level in PICTURES]
    lists = {
        "images": [f"{i + 1} {file}" for i, file in enumerate(files)],
        "image_class_labels": [f"{i + 1} {p[1] + 1}" for i, p in enumerate(PICTURES)],
        "train_test_split": [f"{i + 1} {int(p[0] == 'train')}" for i, p in enumerate(PICTURES)],
        "classes": [f"{i + 1} {name}" for i, name in enumerate(names)],
    }
    content = {f"CUB_200_2011/{name}.txt": _lines(rows) for name, rows in lists.items()}
    for file, (_, _, level) in zip(files, PICTURES, strict=True):
        content[f"CUB_200_2011/images/{file}"] = _jpeg(level)
    content["CUB_200_2011/images/002.Crow/not listed.jpg"] = b"left out"
    return {"CUB_200_2011.tgz": tarred(content)}, ["Black footed Albatross", "Crow"]


def food101() -> tuple[Archives, list[str]]:
    names = ["apple_pie", "waffles"]
    files = [f"{names[label]}/{level}" for _, label, level in PICTURES]
    content = {"food-101/meta/classes.txt": _lines(names)}
    for split in ("train", "test"):
        listed = [file for file, p in zip(files, PICTURES, strict=True) if p[0] == split]
        content[f"food-101/meta/{split}.txt"] = _lines(listed)
    for file, (_, _, level) in zip(files, PICTURES, strict=True):
        content[f"food-101/images/{file}.jpg"] = _jpeg(level)
    return {"food-101.tar.gz": tarred(content)}, ["apple pie", "waffles"]


def aircraft() -> tuple[Archives, list[str]]:
    names, top = ["707-320", "Beechcraft 1900"], "fgvc-aircraft-2013b/data"
    content: dict[str, bytes] = {}
    for split, file in (("train", "trainval"), ("test", "test")):
        rows = [f"{level:07d} {names[label]}" for s, label, level in PICTURES if s == split]
        content[f"{top}/images_variant_{file}.txt"] = _lines(rows)
    for _, _, level in PICTURES:
        content[f"{top}/images/{level:07d}.jpg"] = _jpeg(level)
    return {"fgvc-aircraft-2013b.tar.gz": tarred(content)}, names


def tiny_imagenet() -> tuple[Archives, list[str]]:
    codes, top = ["n02", "n01"], "tiny-imagenet-200"
    content = {
        f"{top}/wnids.txt": _lines(codes),
        f"{top}/words.txt": _lines(["n01\tgoldfish, Carassius", "n02\tcrane", "n03\tother"]),
    }
    rows = []
    for split, label, level in PICTURES:
        if split == "train":
            file = f"train/{codes[label]}/images/{codes[label]}_{level:03d}.JPEG"
        else:
            file = f"val/images/val_{level:03d}.JPEG"
            rows.append(f"val_{level:03d}.JPEG\t{codes[label]}\t0\t0\t8\t8")
        content[f"{top}/{file}"] = _jpeg(level)
    content[f"{top}/val/val_annotations.txt"] = _lines(rows)
    content[f"{top}/test/images/test_0.JPEG"] = b"has no label"
    return {"tiny-imagenet-200.zip": zipped(content)}, ["crane", "goldfish"]


def cars() -> tuple[Archives, list[str]]:
    kind = np.dtype([("class", object), ("fname", object)])
    annotations, archives = {}, {}
    for split in ("train", "test"):
        chosen = [(label + 1, f"{level:05d}.jpg") for s, label, level in PICTURES if s == split]
        annotations[split] = _mat(annotations=np.array(chosen, kind))
        files = {f"cars_{split}/{lv:05d}.jpg": _jpeg(lv) for s, _, lv in PICTURES if s == split}
        archives[f"cars_{split}.tgz"] = tarred(files)
    names = ["AM General Hummer", "Acura RL"]
    archives["car_devkit.tgz"] = tarred(
        {
            "devkit/cars_meta.mat": _mat(class_names=np.array(names, object)),
            "devkit/cars_train_annos.mat": annotations["train"],
        }
    )
    archives["cars_test_annos_withlabels.mat"] = annotations["test"]
    return archives, names


def stl10() -> tuple[Archives, list[str]]:
    content = {"stl10_binary/class_names.txt": b"airplane\nbird\n"}
    for split in ("train", "test"):
        of_split = [(label + 1, level) for s, label, level in PICTURES if s == split]
        pixels = [np.full((3, 96, 96), level, np.uint8) for _, level in of_split]
        content[f"stl10_binary/{split}_X.bin"] = np.stack(pixels).tobytes()
        content[f"stl10_binary/{split}_y.bin"] = bytes(label for label, _ in of_split)
    return {"stl10_binary.tar.gz": tarred(content)}, ["airplane", "bird"]


LAYOUTS = (cub200, food101, aircraft, tiny_imagenet, cars, stl10)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_a_data_set_in_its_publishers_layout(layout: Any, bench: Any) -> None:
    archives, classes = layout()
    prepared = bench.run(bench.published(layout.__name__, archives))
    assert prepared.meta.classes == classes
    assert prepared.splits == ("train", "test")
    for name in prepared.splits:
        split = prepared.split(name)
        found = {
            (int(label), round(int(image[4, 4, 0]) / 10) * 10)
            for label, image in zip(split.labels, split.images, strict=True)
        }
        assert found == {(label, level) for s, label, level in PICTURES if s == name}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_other_bytes_than_the_publishers_are_refused(layout: Any, bench: Any) -> None:
    archives, _ = layout()
    settings = bench.published(layout.__name__, archives).model_copy(update={"sha256": {}})
    bench.refused(settings, "not the publisher's")


def test_flowers_in_the_publishers_layout(bench: Any) -> None:
    labels = np.arange(1, 103)
    count = len(labels)
    content = {f"jpg/image_{i + 1:05d}.jpg": _jpeg(i % 256) for i in range(3 * count)}
    # MATLAB counts from 1; the three splits take turns.
    order = np.arange(1, 3 * count + 1)
    settings = bench.published(
        "flowers102",
        {
            "102flowers.tgz": tarred(content, "w"),
            "imagelabels.mat": _mat(labels=np.repeat(labels, 3)),
            "setid.mat": _mat(trnid=order[::3], valid=order[1::3], tstid=order[2::3]),
        },
    )
    prepared = bench.run(settings)
    assert prepared.meta.counts == {"train": 102, "val": 102, "test": 102}
    assert prepared.meta.classes[:2] == ["pink primrose", "hard-leaved pocket orchid"]
    for offset, name in enumerate(("train", "val", "test")):
        split = prepared.split(name)
        assert split.labels.tolist() == list(range(102))
        assert np.abs(split.images[:, 4, 4, 0].astype(int) - (order[offset::3] - 1) % 256).max() < 3


def test_pixels_of_stl10_lie_in_columns(bench: Any) -> None:
    pixels = np.ones((2, 3, 96, 96), np.uint8)
    pixels[:, 1, 5, 7] = 9  # green, column 5, row 7
    content = {"stl10_binary/class_names.txt": b"airplane\nbird\n"}
    for split in ("train", "test"):
        content[f"stl10_binary/{split}_X.bin"] = pixels.tobytes()
        content[f"stl10_binary/{split}_y.bin"] = bytes((1, 2))
    archives = {"stl10_binary.tar.gz": tarred(content)}
    prepared = bench.run(
        bench.published("stl10", archives), image_size=96, mean=[0] * 3, std=[1] * 3
    )
    image = prepared.split("train").images[1]
    assert image[7, 5].tolist() == [1, 9, 1]
    assert image.astype(int).sum() == 3 * 96 * 96 + 8


BROKEN = {
    "a list that is missing": ("train_test_split.txt", None, "lacks CUB_200_2011/train_test_split"),
    "a class without a name": ("image_class_labels.txt", b"1 9\n", "has class"),
    "a label that is no number": ("image_class_labels.txt", b"1 x\n", "'x' is not a whole number"),
    "a line with one column": ("images.txt", b"1\n", "row 1: 2 columns expected"),
    "a picture twice": ("images.txt", b"1 a/b.jpg\n2 a/b.jpg\n", "a/b.jpg is listed twice"),
    "not text": ("classes.txt", b"\xff\xfe1", "is not UTF-8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lists_are_named(case: str, bench: Any) -> None:
    name, content, what = BROKEN[case]
    archives, _ = cub200()
    from saliencymixplus.datasets.archives import iter_members

    path = bench.folder / "it.tgz"
    path.write_bytes(archives["CUB_200_2011.tgz"])
    files = {m.name: m.read() for m in iter_members(path)}
    files[f"CUB_200_2011/{name}"] = content
    files = {k: v for k, v in files.items() if v is not None}
    settings = bench.published("cub200", {"CUB_200_2011.tgz": tarred(files)})
    with pytest.raises(UserError, match=what):
        bench.run(settings)
