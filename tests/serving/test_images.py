"""An image gives the same result in every form in which a program can pass it."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.serving.images import Preparation, items_in

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)


def _png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(data: Any, crop: bool = True) -> list[np.ndarray]:
    return [Preparation(8, crop).read(item, "it") for item in items_in(data)]


@pytest.mark.parametrize("crop", [True, False])
def test_all_forms_give_the_pixels_of_the_decoded_file(tmp_path: Path, crop: bool) -> None:
    expected = Preparation(8, crop).decoded(_png(IMAGE), "it")
    (tmp_path / "a.png").write_bytes(_png(IMAGE))
    text = base64.b64encode(_png(IMAGE)).decode()
    forms = {
        "uint8": IMAGE,
        "int64": IMAGE.astype(np.int64),
        "CHW": IMAGE.transpose(2, 0, 1),
        "float": IMAGE / 255,
        "float32 CHW": (IMAGE / 255).astype(np.float32).transpose(2, 0, 1),
        "nested list": IMAGE.tolist(),
        "batch": IMAGE[None],
        "batch CHW": IMAGE.transpose(2, 0, 1)[None],
        "list": [IMAGE],
        "path": {"path": [str(tmp_path / "a.png")]},
        "bytes": {"image": [_png(IMAGE)]},
        "base64": {"image": [text]},
        "data URI": {"image": [f"data:image/png;base64,{text}"]},
        "cells of arrays": {"image": [IMAGE]},
    }
    for name, form in forms.items():
        (found,) = _pixels(form, crop)
        assert np.array_equal(found, expected), name


def test_a_batch_may_hold_images_of_several_sizes() -> None:
    other = RNG.integers(0, 256, (20, 10, 3), dtype=np.uint8)
    found = _pixels([IMAGE, other, other.transpose(2, 0, 1)])
    assert [image.shape for image in found] == [(8, 8, 3)] * 3
    assert np.array_equal(found[1], found[2])
    assert not np.array_equal(found[0], found[1])


def test_an_image_of_three_rows_and_columns_is_height_width_channel() -> None:
    image = RNG.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    assert np.array_equal(Preparation(3, True).fitted(image, "it"), image)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (IMAGE[..., 0], "shape \\(9, 14\\)"),
        (np.zeros((2, 9, 14, 4)), "shape \\(9, 14, 4\\), not RGB"),
        (np.zeros((0, 9, 14, 3)), "shape \\(0, 9, 14, 3\\)"),
        (IMAGE.astype(float), "floats from .* give 0 to 1"),
        (np.full((4, 4, 3), np.nan), "floats from nan"),
        (np.full((4, 4, 3), -1), "integers from -1"),
        (np.zeros((4, 4, 3), bool), "has type bool"),
        (np.zeros((4, 4, 3), complex), "type complex128"),
        ([], "shape \\(0,\\)"),
        ("a.png", "text is not an image"),
        ({"file": ["a.png"]}, "'file': give one column"),
        ({"path": []}, "column `path` is empty"),
        ({"path": ["absent.png"]}, "row 0: cannot read absent.png"),
        ({"path": [3]}, "expected a file path, not int"),
        ({"image": ["absent.png"]}, "not base64; file paths go in a column called `path`"),
        ({"image": [b"GIF89a"]}, "cannot read image it"),
        ({"image": [[[1, 2], [3]]]}, "is not an array"),
    ],
)
def test_what_is_no_image_is_named(data: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        _pixels(data)
