"""Decoding: any picture file becomes an upright, square RGB array."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from saliencymixplus.errors import UserError

# By content, not by name. Formats that Pillow hands to other programs (EPS) are not among them.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Pillow's own limit (89 million), from which on it suspects a decompression bomb.
MAX_PIXELS = 89_478_485


def decode(content: bytes, name: str, size: int) -> npt.NDArray[np.uint8]:
    """Decode a picture file to RGB, (size, size, 3).

    Turned upright as its EXIF orientation says, transparency laid on white, 16-bit grey scaled
    to 8 bits, the first frame of an animation, and resized as by ``resize``.

    Args:
        content: The file's bytes.
        name: The file's name, for messages.
        size: Side in pixels.

    Raises:
        UserError: the file is empty, truncated, no picture, or of more than ``MAX_PIXELS``.
    """
    with _readable(content, name) as image:
        return resize(np.asarray(_to_rgb(ImageOps.exif_transpose(image))), size)


def decode_values(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Decode a greyscale or palette file to its stored numbers, (H, W): a map of labels."""
    with _readable(content, name) as image:
        if image.mode not in ("L", "P", "1"):
            raise UserError(f"{name} is no map of labels: its mode is {image.mode}, not L or P")
        return np.asarray(image, dtype=np.uint8)


def resize(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize (H, W, 3) to (size, size, 3), whatever its proportions; unchanged if it is that size.

    Bilinear with antialiasing, as torchvision's ``Resize((size, size))`` does on a PIL image.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def resize_values(values: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize a map of labels (H, W) to (size, size), each pixel from its nearest."""
    return np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.NEAREST))


@contextmanager
def decoding() -> Iterator[None]:
    """Make ``decode`` fit for threads: decoders registered, no warnings printed by Pillow."""
    Image.init()  # else the first pictures race for it
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


@contextmanager
def _readable(content: bytes, name: str) -> Iterator[Image.Image]:
    """Open a picture and turn whatever goes wrong with it into one line that names it."""
    if not content:
        raise UserError(f"{name} is empty (0 bytes): replace or remove it")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"{name} is too large ({width}×{height} pixels): {_BOMB}")
            image.load()
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} is too large: {_BOMB}") from error
    except Exception as error:  # Pillow's decoders raise nearly every kind on damaged input
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            text = f"not one of {', '.join(FORMATS)}"
        raise UserError(f"cannot read image {name} ({text}): replace or remove it") from error


_BOMB = f"at most {MAX_PIXELS // 1_000_000} million pixels are read, scale it down"


def _to_rgb(image: Any) -> Image.Image:
    """Any mode to RGB. Transparent pixels show white, as on a page."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"mode {image.mode} beyond 16 bits: save it with 8 or 16 bits")
        image = Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
