"""Picture formats: which are read, and what to say about files that are not."""

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image, features
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLESPERPIXEL, ImageFileDirectory_v2

# Recognised by content, not by name. EPS is excluded: Pillow passes it to an external program.
_ALWAYS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"),
)
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
# Other kinds of files, by their first bytes.
_KINDS = (
    (b"%!PS", "a PostScript drawing"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a zip archive"),
)


@cache
def readable_formats() -> tuple[str, ...]:
    """Names of the formats that Pillow may try, given the installed packages."""
    more = ["AVIF"] if features.check("avif") else []
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
        more.append("HEIF")
    return (*_ALWAYS, *more)


def pixels_only(content: bytes) -> bytes:
    """Strip metadata from a PNG or JPEG file: if damaged or huge, it would make Pillow fail.

    Whatever affects pixels is kept: palette, transparency, colour transform and orientation. Other
    formats and files with a broken structure are returned unchanged.
    """
    if content.startswith(_PNG):
        return _PNG + b"".join(_png_chunks(content))
    if content.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd8" + b"".join(_jpeg_segments(content))
    return content


def is_deep_colour(image: Any, content: bytes) -> bool:
    """Whether a PNG or TIFF that Pillow opened as 8-bit colour has 16 bits per channel."""
    if image.format == "PNG":
        return content[24:25] == b"\x10"
    if image.format != "TIFF":
        return False
    bits: tuple[int, ...] = image.tag_v2.get(BITSPERSAMPLE, (8,))
    return max(bits) > 8


def kind(content: bytes) -> str:
    """Say what an unreadable file is, and what to do about it."""
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        if brand in (b"avif", b"avis"):
            return "it is an AVIF picture: install Pillow 11.3 or newer, or convert it to PNG"
        if brand[:3] in (b"hei", b"hev", b"mif", b"msf"):
            return (
                "it is an HEIC picture: pip install 'saliencymixplus[heif]', or convert it to JPEG"
            )
        return "it is a video: replace or remove it"
    if content.startswith(_TIFF):
        return _tiff_kind(content)
    for start, what in _KINDS:
        if content.startswith(start):
            return f"it is {what}: convert it to PNG, or remove it"
    head = content[:1000].lstrip().lower()
    if b"<svg" in head:
        return "it is an SVG drawing: convert it to PNG, or remove it"
    if head.startswith((b"<!doctype", b"<html")):
        return "it is a web page, perhaps an error page saved by mistake: replace or remove it"
    return f"it is not one of {', '.join(readable_formats())}: replace or remove it"


def _tiff_kind(content: bytes) -> str:
    try:
        directory = ImageFileDirectory_v2(content[:8])
        file = BytesIO(content)
        file.seek(directory.next)
        directory.load(file)
        channels = int(directory.get(SAMPLESPERPIXEL, 1))
        bits = max(map(int, directory.get(BITSPERSAMPLE, (1,))))
    except Exception:  # damaged files can raise anything
        return "it is a damaged TIFF: replace or remove it"
    return (
        f"it is a TIFF of {channels} channels of {bits} bits, which is not supported: save 1 "
        "(grey), 3 (RGB) or 4 (RGBA) channels of 8 or 16 bits, e.g. as PNG"
    )


def _png_chunks(content: bytes) -> Iterator[bytes]:
    at = len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        name, chunk = content[at + 4 : at + 8], content[at : at + 12 + length]
        is_critical = not name[0] & 0x20
        if is_critical or (name in (b"tRNS", b"eXIf") and _is_whole(chunk)):
            yield chunk
        at += 12 + length
    yield content[at:]


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    keep: dict[int, Callable[[bytes], bool]] = {
        0xE0: lambda data: data.startswith(b"JFIF\0") and len(data) >= 14,
        0xE1: lambda data: data.startswith(b"Exif\0\0"),
        0xEE: lambda data: data.startswith(b"Adobe") and len(data) >= 12,
    }
    at = 2
    while content[at : at + 1] == b"\xff" and at + 4 <= len(content):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        application = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if marker == 0xDA or not (application or 0xC0 <= marker <= 0xDF):
            break  # the scan or something unexpected: keep the rest unchanged
        kept = keep.get(marker)
        if not application or (kept and kept(content[at + 4 : at + 2 + length])):
            yield content[at : at + 2 + length]
        at += 2 + length
    yield content[at:]


def register_decoders() -> None:
    """Register all decoders now, because threads would race to do so."""
    Image.init()
    readable_formats()
