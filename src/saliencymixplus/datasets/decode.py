"""Decode any picture file to an upright, square RGB array."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION

from saliencymixplus.datasets.formats import (
    is_deep_colour,
    kind,
    pixels_only,
    readable_formats,
    register_decoders,
)
from saliencymixplus.errors import UserError, one_line

Bytes = npt.NDArray[np.uint8]
Deep = npt.NDArray[np.uint32]
ALL_BITS = 16  # of a channel, if a data set or a run says nothing else
# Pillow's limit (89 million), above which it suspects a decompression bomb.
MAX_PIXELS = 89_478_485
_UNHEARD = logging.NullHandler()
_TOO_LARGE = f"at most {MAX_PIXELS // 1_000_000} million pixels are read, scale it down"
# EXIF 2.3, tag 0x0112: the transformation that turns a stored picture upright.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(
    content: bytes, name: str, size: int, *, crop: bool = False, bits: int = ALL_BITS
) -> Bytes:
    """Decode a picture file to RGB, (size, size, 3).

    The picture is turned upright according to its EXIF orientation, composited on white and
    resized by ``resize``. Of an animation, the first frame is used. Damaged metadata is ignored.

    Args:
        name: of the file, for messages.
        size: side in pixels.
        crop: as in ``resize``.
        bits: number of bits per channel in use in pictures with more than 8; the upper 8 of
            these are kept.

    Raises:
        UserError: the file is empty, truncated, not a picture, or has more than ``MAX_PIXELS``.
    """
    with _opened(content, name) as image:
        return resize(np.asarray(_upright(_to_rgb(image, content, bits), image)), size, crop)


def bits_in_use(content: bytes, name: str) -> int:
    """Number of bits that a picture's largest value needs; 0 if it has 8 bits per channel."""
    with _opened(content, name) as image:
        values = _deep_values(image, content)
        return 0 if values is None else int(values.colours.max()).bit_length()


def upright_size(content: bytes, name: str) -> tuple[int, int]:
    """(width, height) of the upright picture, usually read from its header alone."""
    with _opened(content, name, load=False) as image:
        if image.format == "TIFF":
            image.load()  # Pillow applies and removes the tag
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def decode_values(content: bytes, name: str) -> Bytes:
    """Decode a label map, a greyscale or palette file, to its stored values (H, W)."""
    with _opened(content, name) as image:
        if image.mode not in ("L", "P", "1"):
            raise UserError(
                f"{name} is not a map of labels: its mode is {image.mode}, not L or P: save it as "
                "a greyscale PNG"
            )
        if image.format == "JPEG":
            raise UserError(
                f"{name} is a JPEG, whose values are not exact: save the map of labels as PNG"
            )
        return np.asarray(image, dtype=np.uint8)


def resize(image: Bytes, size: int, crop: bool = False) -> Bytes:
    """Resize (H, W, 3) to (size, size, 3); unchanged if it has that size.

    Bilinear with antialiasing, like torchvision's ``Resize`` on a PIL image. With ``crop``, the
    shorter side becomes ``size`` and the longer one is centre-cropped; without it, non-square
    pictures are squashed.
    """
    return _resized(image, size, crop, Image.Resampling.BILINEAR)


def resize_values(values: Bytes, size: int, crop: bool = False) -> Bytes:
    """Resize a label map (H, W) to (size, size) like ``resize``, but by nearest neighbour."""
    return _resized(values, size, crop, Image.Resampling.NEAREST)


@contextmanager
def decoding() -> Iterator[None]:
    """Make ``decode`` thread-safe by registering the decoders, and silence Pillow's warnings."""
    register_decoders()
    logging.getLogger("PIL").addHandler(_UNHEARD)  # its errors are reported by ours
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _resized(values: Bytes, size: int, crop: bool, how: Image.Resampling) -> Bytes:
    height, width = values.shape[:2]
    if (height, width) == (size, size):
        return values
    side = min(height, width)
    left, top = ((width - side) / 2, (height - side) / 2) if crop else (0, 0)
    box = (left, top, left + side, top + side) if crop else None
    return np.asarray(Image.fromarray(values).resize((size, size), how, box=box))


@contextmanager
def _opened(content: bytes, name: str, *, load: bool = True) -> Iterator[Any]:
    """Open a picture; errors become a ``UserError`` that names it."""
    if not content:
        raise UserError(f"{name} is empty (0 bytes): replace or remove it")
    try:
        with Image.open(BytesIO(pixels_only(content)), formats=readable_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"{name} is too large ({width}×{height} pixels): {_TOO_LARGE}")
            if load:
                image.load()
            yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} is too large: {_TOO_LARGE}") from error
    except UnidentifiedImageError as error:
        raise UserError(f"cannot read image {name}: {kind(content)}") from error
    except Exception as error:  # Pillow's decoders raise all kinds of errors on damaged input
        reason = one_line(error) or type(error).__name__
        raise UserError(f"cannot read image {name} ({reason}): replace or remove it") from error


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF raises all kinds of errors, but the pixels are still good
        return 1


def _upright(rgb: Image.Image, stored: Any) -> Image.Image:
    turn = _TURNS.get(_orientation(stored))
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image, content: bytes, bits: int) -> Image.Image:
    """Convert any mode to RGB, on a white background."""
    values = _deep_values(image, content)
    if values is not None:
        image = Image.fromarray(values.shallow(bits))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


@dataclass(frozen=True)
class _DeepValues:
    """A picture with more than 8 bits per channel."""

    colours: Deep  # (H, W, 1 or 3)
    opacity: Deep | None = None  # (H, W), up to 2**16 - 1
    white_is_zero: bool = False

    def shallow(self, bits: int) -> Bytes:
        """8-bit values, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), from those of ``bits`` bits."""
        if (needed := int(self.colours.max()).bit_length()) > max(bits, 8):
            raise ValueError(f"values of {needed} bits, more than the {bits} that the data use")
        values = (self.colours >> max(bits - 8, 0)).astype(np.uint8)
        if self.white_is_zero:
            values = 255 - values
        if self.opacity is None:
            return values.squeeze(-1) if values.shape[-1] == 1 else values
        # Programs that use 8 or 12 of the 16 bits use as many of the opacity, or all of them.
        most = 2**bits - 1
        depth = bits if self.opacity.max() <= most else 16
        return np.dstack([values, (self.opacity >> max(depth - 8, 0)).astype(np.uint8)])


def _deep_values(image: Any, content: bytes) -> _DeepValues | None:
    """The values of a picture with more than 8 bits per channel; None for other pictures."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image)
        if image.mode == "F":
            raise ValueError("32-bit floating-point numbers: save it with 8 or 16 bits")
        if values.min() < 0:
            raise ValueError("negative numbers: save it with 8 or 16 bits")
        values = values.astype(np.uint32)
        transparent = image.info.get("transparency") if image.format == "PNG" else None
        opacity = None
        if transparent is not None:
            opacity = np.where(values == transparent, 0, 2**16 - 1).astype(np.uint32)
        is_inverted = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
        return _DeepValues(values[..., None], opacity, is_inverted)
    if not is_deep_colour(image, content):
        return None
    # Pillow would drop the lower 8 of a colour picture's 16 bits.
    try:
        import cv2
    except ImportError:  # in an MLflow model's environment
        raise ValueError("16 bits per channel need OpenCV: save it with 8") from None
    deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[2:] not in ((3,), (4,)):
        raise ValueError("an unsupported form of 16 bits per channel: save it with 8")
    channels: Deep = deep.astype(np.uint32)  # blue first
    opacity = channels[..., 3] if channels.shape[2] == 4 else None
    return _DeepValues(channels[..., 2::-1], opacity)
