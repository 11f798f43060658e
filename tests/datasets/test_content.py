"""Data that would silently give wrong results: one colour, few bits, duplicates, rare classes."""

from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from saliencymixplus.errors import UserError


def _deep(bits: int, channels: int, form: str) -> Any:
    """16-bit pictures whose values need ``bits`` bits; two classes, train and test."""
    rng = np.random.default_rng(bits)
    shape = (8, 8) if channels == 1 else (8, 8, channels)
    pictures = {
        f"{split}/{name}/{i}.{form}": rng.integers(0, 2**bits, shape, dtype=np.uint16)
        for split in ("train", "test")
        for name in "ab"
        for i in range(2)
    }
    first = next(iter(pictures.values()))
    first.flat[0] = 2**bits - 1
    if channels == 4:
        for values in pictures.values():
            values[..., 3] = 65535
    return pictures


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_sixteen_bits_are_scaled_by_those_in_use(
    bits: int, channels: int, form: str, bench: Any, make: Any
) -> None:
    pictures = _deep(bits, channels, form)
    order = [2, 1, 0, 3][:channels]  # OpenCV writes blue first
    files = {
        name: cv2.imencode(f".{form}", values[..., order] if channels > 1 else values)[1].tobytes()
        for name, values in pictures.items()
    }
    prepared = bench.run(bench.own(make.tarred(files)))
    for split in ("train", "test"):
        of_split = prepared.split(split)
        for name, image in zip(of_split.files, of_split.images, strict=True):
            values = pictures[name][..., :3] if channels > 1 else pictures[name][..., None]
            np.testing.assert_array_equal(
                image, np.broadcast_to(values >> (bits - 8), image.shape).astype(np.uint8)
            )
    note = f"pictures of 16 bits hold values of {bits} bits: scaled by these"
    assert prepared.meta.notes == ([note] if bits < 16 else [])


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_opacity_uses_as_many_bits_as_the_colours_or_all(
    opaque: int, bench: Any, make: Any
) -> None:
    pictures = _deep(12, 4, "png")
    for values in pictures.values():
        values[..., 3] = opaque
        values[:4, :, 3] = 0
    files = {
        name: cv2.imencode(".png", values[..., [2, 1, 0, 3]])[1].tobytes()
        for name, values in pictures.items()
    }
    of_split = bench.run(bench.own(make.tarred(files))).split("train")
    for name, image in zip(of_split.files, of_split.images, strict=True):
        assert (image[:4] == 255).all()
        np.testing.assert_array_equal(image[4:], pictures[name][4:, :, :3] >> 4)


def test_a_16_bit_png_is_scaled_whatever_it_is_called(bench: Any, make: Any) -> None:
    pictures = _deep(12, 1, "jpg")
    files = {name: cv2.imencode(".png", values)[1].tobytes() for name, values in pictures.items()}
    train = bench.run(bench.own(make.tarred(files))).split("train")
    np.testing.assert_array_equal(train.images[0, ..., 0], pictures[train.files[0]] >> 4)


def test_classes_that_became_nearly_black_are_named(bench: Any, make: Any) -> None:
    """16 bits in one class and 12 in the other; or 12 bits everywhere and a hot pixel."""
    deep = {name: values * 16 for name, values in _deep(12, 1, "png").items()}
    for name, values in deep.items():
        if "/b/" in name:
            values //= 16
    hot = _deep(12, 1, "png")
    for values in hot.values():
        values[0, 0] = 65535
    for pictures, names in ((deep, "b"), (hot, "a, b")):
        files = {name: cv2.imencode(".png", v)[1].tobytes() for name, v in pictures.items()}
        (note,) = bench.run(bench.own(make.tarred(files))).meta.notes
        assert f"nearly black (98% of the values are below 17 of 255): {names};" in note


def test_32_bit_integers_are_scaled_too(bench: Any, make: Any) -> None:
    files = make.photos()
    values = np.arange(64, dtype=np.int32).reshape(8, 8) * 4
    files["train/cat/0.tif"] = make.encoded(Image.fromarray(values), "TIFF")
    train = bench.run(bench.own(make.tarred(files))).split("train")
    np.testing.assert_array_equal(
        train.images[train.files.index("train/cat/0.tif")][..., 0], values
    )


def test_a_class_of_one_colour_is_refused(bench: Any, make: Any) -> None:
    black = {f"{split}/emu/{i}.png": make.encoded(0) for split in ("train", "test") for i in (0, 1)}
    bench.refused(
        bench.own(make.tarred(make.photos() | black)),
        "every pixel of class 'emu' has the same colour (0, 0, 0)",
        stage="prepare",
    )


def test_a_channel_without_deviation_is_refused(bench: Any, make: Any) -> None:
    rng = np.random.default_rng(0)
    files = {}
    for name in make.photos():
        picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture[..., 1] = 7
        files[name] = make.encoded(picture)
    settings = bench.own(make.tarred(files))
    bench.refused(settings, "green is 7 in every pixel", stage="prepare")
    bench.run(settings, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_doubles_and_rare_classes_are_named(bench: Any, make: Any) -> None:
    files = make.photos(train=3)
    files["test/dog/again.png"] = files["train/dog/1.png"]
    files["train/cat/dog.png"] = files["train/dog/1.png"]
    rng = np.random.default_rng(0)
    for i in range(36):
        files[f"train/cat/more{i}.png"] = make.encoded(
            rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        )
    prepared = bench.run(bench.own(make.tarred(files)))
    assert prepared.meta.notes == [
        "classes in which each picture has one colour only: dog (train), cat (test), dog (test)",
        "1 picture is in two splits, which makes errors look lower than they are: "
        "train/cat/dog.png (train) = test/dog/again.png (test)",
        "2 pictures are in two classes: train/cat/dog.png = train/dog/1.png, "
        "train/cat/dog.png = test/dog/again.png",
        "training classes with at most a tenth of the pictures of cat (40): dog (3)",
    ]
    assert all(f"note: {note}" in bench.lines for note in prepared.meta.notes)


def test_val_and_test_of_one_colour_say_so(bench: Any, make: Any) -> None:
    """A class is looked at as a whole: one plain picture in it is not a fault."""
    files = {name: make.encoded(100 + i) for i, name in enumerate(make.photos(train=1, test=1))}
    assert bench.run(bench.own(make.tarred(files))).meta.notes == []
    same = {name: make.encoded(3) for name in files}
    with pytest.raises(UserError, match="class 'cat'"):
        bench.run(bench.own(make.tarred(same)))
