"""Bad pictures and bad folder layouts: one line that names the culprit, no leftovers."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _png(side: int) -> bytes:
    """A PNG that claims side × side pixels, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


# Pictures: what to put at train/cat/bad.png.
PICTURES: dict[str, Callable[[Any], bytes]] = {
    "empty": lambda make: b"",
    "text": lambda make: b"this is no picture",
    "truncated png": lambda make: make.encoded(NOISE)[:-200],
    "truncated jpeg": lambda make: make.encoded(NOISE, "JPEG")[:900],
    "header only": lambda make: make.encoded(5)[:30],
    "decompression bomb": lambda make: _png(60_000),
    "too many pixels": lambda make: _png(10_000),
    "32-bit floats": lambda make: make.encoded(Image.new("F", (8, 8)), "TIFF"),
    "postscript": lambda make: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
    "svg": lambda make: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "html error page": lambda make: b"<!DOCTYPE html><title>404</title>",
}


@pytest.mark.parametrize("case", PICTURES)
def test_a_bad_picture_is_named(case: str, bench: Any, make: Any) -> None:
    settings = bench.own(make.tarred(make.photos() | {"train/cat/bad.png": PICTURES[case](make)}))
    bench.refused(settings, "train/cat/bad.png", stage="prepare")


def _without(files: dict, prefix: str) -> dict:
    return {name: content for name, content in files.items() if not name.startswith(prefix)}


# Layouts of the user's folder: what is in the archive, and the culprit.
LAYOUTS: dict[str, tuple[Callable[[Any], dict], str]] = {
    "no train": (lambda make: _without(make.photos(), "train"), "train/"),
    "nothing": (lambda make: {}, "train/"),
    "class only in train": (
        lambda make: _without(make.photos(), "test/dog"),
        "'dog' is in train/ but not in test/",
    ),
    "class only in test": (lambda make: _without(make.photos(), "train/cat"), "'cat' is in test/"),
    "class not in val": (
        lambda make: make.photos() | {"val/cat/a.png": make.encoded(1)},
        "'dog' is in train/ but not in val/",
    ),
    "empty class": (
        lambda make: make.photos() | {"train/mouse": None, "test/mouse/1.png": make.encoded(1)},
        "train/mouse",
    ),
    "empty class but for clutter": (
        lambda make: (
            make.photos()
            | {
                "train/mouse": None,
                "train/mouse/.DS_Store": b"",
                "test/mouse/1.png": make.encoded(1),
            }
        ),
        "train/mouse",
    ),
    "one class": (lambda make: make.photos(classes=("cat",)), "only one class"),
    "wrong extension": (lambda make: make.photos() | {"train/cat/notes.txt": b"x"}, "notes.txt"),
    "no extension": (lambda make: make.photos() | {"test/cat/README": b"x"}, "test/cat/README"),
    "picture without class": (lambda make: make.photos() | {"train/a.png": b"x"}, "train/a.png"),
    "nested too deep": (
        lambda make: make.photos() | {"train/cat/old/a.png": b"x"},
        "train/cat/old/a.png",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_bad_layout_is_named(case: str, bench: Any, make: Any) -> None:
    files, culprit = LAYOUTS[case]
    bench.refused(bench.own(make.tarred(files(make))), culprit)
