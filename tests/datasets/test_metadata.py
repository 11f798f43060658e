"""Damaged metadata never affects pixels; unreadable files are identified."""

import random
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from saliencymixplus.datasets import formats
from saliencymixplus.datasets.decode import decode
from saliencymixplus.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
PICTURE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def encoded(form: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PICTURE).save(buffer, form, **options)
    return buffer.getvalue()


def with_chunk(kind: bytes, data: bytes, *, damaged: bool = False) -> bytes:
    """The PNG with one more chunk before its pixels."""
    check = zlib.crc32(kind + data) ^ damaged
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
    plain = encoded("PNG")
    at = plain.index(b"IDAT") - 4
    return plain[:at] + chunk + plain[at:]


def with_segment(marker: int, data: bytes) -> bytes:
    """The JPEG with one more segment at its beginning."""
    plain = encoded("JPEG", quality=95)
    return plain[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + plain[2:]


PNG = {
    "damaged EXIF": (b"eXIf", b"\0\x08\0\x02\x01\x12\0\x03\0"),
    "EXIF of nothing": (b"eXIf", b""),
    "a colour profile of 3 MB": (b"iCCP", b"p\0\0" + zlib.compress(b"a" * 3_000_000)),
    "a colour profile that is not compressed": (b"iCCP", b"p\0\0garbage"),
    "a text of 3 MB": (b"zTXt", b"k\0\0" + zlib.compress(b"a" * 3_000_000)),
    "a gamma that is none": (b"gAMA", b"\0"),
    "a size that is none": (b"pHYs", b"\0"),
}


@pytest.mark.parametrize("case", PNG)
@pytest.mark.parametrize("damaged", [False, True])
def test_a_png_is_read_whatever_its_metadata(case: str, damaged: bool) -> None:
    content = with_chunk(*PNG[case], damaged=damaged)
    np.testing.assert_array_equal(decode(content, "x", 24), PICTURE)


def test_a_jpeg_is_read_whatever_its_metadata() -> None:
    expected = decode(encoded("JPEG", quality=95), "x", 24)
    draw = random.Random(0)
    starts = (b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\x008BIM",
              b"MPF\0II*\0\x08\0\0\0", b"JFIF\0", b"Adobe", b"x")  # fmt: skip
    for start in starts:
        for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xFE):
            for length in (0, 1, 7, 60):
                content = with_segment(marker, start + draw.randbytes(length))
                np.testing.assert_array_equal(decode(content, "x", 24), expected)


def test_a_truncated_picture_is_still_refused() -> None:
    for form in ("PNG", "JPEG"):
        with pytest.raises(UserError, match="cannot read image x"):
            decode(encoded(form)[:-300], "x", 24)


def test_the_orientation_survives() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if form == "WEBP" else {}
        content = encoded(form, exif=exif, **options)
        np.testing.assert_array_equal(decode(content, "x", 24), np.rot90(PICTURE, -1))


def _tiff(channels: int, bits: int) -> bytes:
    """A TIFF of 4 × 4 pixels, as instruments write them."""
    data = bytes(16 * channels * bits // 8)
    tags = [(256, 3, 4), (257, 3, 4), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, channels), (278, 3, 4), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return start + data + struct.pack("<H", len(tags)) + entries + bytes(4)


KINDS = {
    "it is a TIFF of 13 channels of 16 bits": _tiff(13, 16),
    "it is a TIFF of 7 channels of 8 bits": _tiff(7, 8),
    "it is a PDF document": b"%PDF-1.7\n",
    "it is an SVG drawing": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "it is a web page": b"<!DOCTYPE html><title>404</title>",
    "it is a JPEG 2000 picture": b"\0\0\0\x0cjP  \r\n\x87\n",
    "it is a video": b"\0\0\0\x20ftypmp42",
    "it is not one of JPEG, PNG": b"this is a text",
    "32-bit floating-point numbers": None,
}


@pytest.mark.parametrize("what", KINDS)
def test_what_is_not_read_is_called_what_it_is(what: str) -> None:
    content = KINDS[what]
    if content is None:
        buffer = BytesIO()
        Image.new("F", (8, 8)).save(buffer, "TIFF")
        content = buffer.getvalue()
    with pytest.raises(UserError, match=r"cannot read image x\.tif") as caught:
        decode(content, "x.tif", 8)
    assert what in str(caught.value)
    assert "again" not in str(caught.value)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_reader_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saliencymixplus.datasets.decode.readable_formats", lambda: ("JPEG",))
    with pytest.raises(UserError, match=r"HEIC picture: pip install 'saliencymixplus\[heif\]'"):
        decode(HEIC, "x.heic", 8)
    with pytest.raises(UserError, match="AVIF picture: install Pillow"):
        decode(HEIC.replace(b"heic", b"avif"), "x.avif", 8)


def _is_close(content: bytes) -> None:
    """A smooth picture, so that what is lossy loses little."""
    difference = np.abs(decode(content, "x", 64).astype(int) - SMOOTH).mean()
    assert difference < 3


SMOOTH = np.stack([*np.meshgrid(np.arange(64), np.arange(64)), np.full((64, 64), 90)], axis=2)
SMOOTH = (SMOOTH * 2).astype(np.uint8)


def test_heic_is_read(bench: Any, make: Any) -> None:
    pytest.importorskip("pillow_heif")
    assert "HEIF" in formats.readable_formats()
    _is_close(make.encoded(SMOOTH, "HEIF", quality=95))
    files = make.photos() | {"train/cat/phone.HEIC": make.encoded(SMOOTH, "HEIF")}
    assert "train/cat/phone.HEIC" in bench.run(bench.own(make.tarred(files))).split("train").files


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not read AVIF")
def test_avif_is_read(make: Any) -> None:
    _is_close(make.encoded(SMOOTH, "AVIF", quality=95))
