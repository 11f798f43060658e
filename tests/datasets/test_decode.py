"""Decode every kind of picture, against pixels worked out by hand."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, ImageFileDirectory_v2
from torchvision.transforms import functional

from saliencymixplus.datasets.decode import decode, decode_values, resize, resize_values
from saliencymixplus.errors import UserError

# Red, green / blue, grey: no two pixels alike, so that any turn shows.
FOUR = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [90, 90, 90]]], dtype=np.uint8)


def _bytes(image: Any, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        buffer, form, **options
    )
    return buffer.getvalue()


def _decode(content: bytes, size: int = 2) -> np.ndarray:
    array = decode(content, "x", size)
    assert array.shape == (size, size, 3)
    assert array.dtype == np.uint8
    return array


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_unchanged(form: str) -> None:
    np.testing.assert_array_equal(_decode(_bytes(FOUR, form)), FOUR)


def test_lossless_webp_is_unchanged() -> None:
    np.testing.assert_array_equal(_decode(_bytes(FOUR, "WEBP", lossless=True)), FOUR)


W, K = [255] * 3, [0] * 3
MODES = {
    "L": (Image.fromarray(np.array([[0, 200]], np.uint8)), [K, [200] * 3]),
    "1": (Image.fromarray(np.array([[False, True]])), [K, W]),
    "I;16": (Image.fromarray(np.array([[0x1234, 0xFFFF]], np.uint16)), [[0x12] * 3, W]),
    # Half opaque red on white: 255, and 255 − 128 for the other two.
    "RGBA": (
        Image.fromarray(np.array([[[255, 0, 0, 128], [9, 9, 9, 0]]], np.uint8)),
        [[255, 127, 127], W],
    ),
    "LA": (
        Image.fromarray(np.array([[[0, 255], [0, 0]]], np.uint8), "LA"),
        [K, W],
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_rgb(mode: str) -> None:
    image, expected = MODES[mode]
    assert image.mode == mode
    wide = image.resize((2, 2), Image.Resampling.NEAREST)
    array = _decode(_bytes(wide))
    np.testing.assert_array_equal(array, [expected, expected])


def test_palette_becomes_its_colours() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    expected = np.full((2, 2, 3), (10, 20, 30), np.uint8)
    expected[0, 1] = 200, 100, 50
    for form in ("PNG", "GIF"):
        np.testing.assert_array_equal(_decode(_bytes(image, form)), expected)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_shows_white(form: str) -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    array = _decode(_bytes(image, form, transparency=0))
    np.testing.assert_array_equal(array, [[W, [200, 100, 50]], [W, W]])


def test_a_transparent_grey_or_colour_shows_white() -> None:
    grey = Image.fromarray(np.array([[7, 200], [200, 7]], np.uint8))
    array = _decode(_bytes(grey, transparency=7))
    np.testing.assert_array_equal(array, [[W, [200] * 3], [[200] * 3, W]])
    expected = FOUR.copy()
    expected[0, 0] = 255
    array = _decode(_bytes(FOUR, transparency=(255, 0, 0)))
    np.testing.assert_array_equal(array, expected)


def test_a_transparent_grey_of_16_bits_shows_white() -> None:
    deep = np.array([[7 << 8, 200 << 8], [200 << 8, 7 << 8]], np.uint16)
    content = _bytes(deep)
    at = content.index(b"IDAT") - 4
    data = b"tRNS" + (7 << 8).to_bytes(2)
    chunk = (2).to_bytes(4) + data + zlib.crc32(data).to_bytes(4)
    array = _decode(content[:at] + chunk + content[at:])
    np.testing.assert_array_equal(array, [[W, [200] * 3], [[200] * 3, W]])


@pytest.mark.parametrize("bits", [12, 16])
def test_a_tiff_in_which_zero_is_white_is_no_negative(bits: int) -> None:
    tags = ImageFileDirectory_v2()
    tags[PHOTOMETRIC_INTERPRETATION] = 0
    deep = np.array([[0, 2**bits - 1]] * 2, np.uint16)
    array = decode(_bytes(deep, "TIFF", tiffinfo=tags), "x", 2, bits=bits)
    np.testing.assert_array_equal(array, [[W, K]] * 2)


def test_more_bits_than_are_in_use_are_refused() -> None:
    with pytest.raises(UserError, match="values of 16 bits, more than the 12 that the data use"):
        decode(_bytes(np.array([[0, 65535]], np.uint16)), "x", 2, bits=12)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(form: str) -> None:
    # No ink is white; full cyan leaves green and blue.
    white, cyan = (_decode(_bytes(Image.new("CMYK", (16, 16), ink), form), 16)
                   for ink in ((0, 0, 0, 0), (255, 0, 0, 0)))  # fmt: skip
    assert white.min() > 250
    assert cyan[..., 0].max() < 5
    assert cyan[..., 1:].min() > 250


# EXIF 2.3, tag 0x0112: which way the stored picture must be turned to stand upright.
TURNS = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_exif_rotated_pictures_come_out_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.repeat(np.repeat(FOUR, 16, axis=0), 16, axis=1)
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    array = _decode(_bytes(stored, form, exif=exif, **options), 32)
    difference = np.abs(array.astype(int) - TURNS[orientation](stored)).max()
    assert difference <= (3 if form == "JPEG" else 0)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    content = _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(_decode(content), np.full((2, 2, 3), (255, 0, 0)))


def test_resizing_is_the_published_transform() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
    expected = functional.resize(Image.fromarray(picture), [16, 16])
    np.testing.assert_array_equal(resize(picture, 16), np.asarray(expected))
    np.testing.assert_array_equal(_decode(_bytes(picture), 16), np.asarray(expected))


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert resize(picture, 32) is picture


def test_label_maps_keep_their_values() -> None:
    values = np.array([[1, 2], [3, 250]], dtype=np.uint8)
    np.testing.assert_array_equal(decode_values(_bytes(values), "x"), values)
    np.testing.assert_array_equal(
        resize_values(values, 4), values.repeat(2, axis=0).repeat(2, axis=1)
    )


def test_the_content_decides_not_the_name() -> None:
    np.testing.assert_array_equal(decode(_bytes(FOUR, "GIF"), "x.jpg", 2)[1, 1], [90] * 3)


def test_pillow_runs_no_other_program() -> None:
    with pytest.raises(UserError, match="it is a PostScript drawing"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "x.png", 8)
