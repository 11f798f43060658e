"""Building blocks of sample pictures: crisp scaling, heat maps, outlines, fitted text."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from saliencymixplus.files import write_atomically
from saliencymixplus.pictures.fonts import font

Pixels = NDArray[np.uint8]  # (H, W, 3)

INK = (28, 32, 38)
GREY = (110, 116, 124)
COLOUR_A = (31, 99, 178)  # anything from image a
COLOUR_B = (224, 102, 10)  # anything from image b: its name, the pasted region
COLOUR_OBJECT = (0, 200, 190)  # the outline of an annotated object
PANEL = 132  # longest side of a panel in pixels
_SOFTWARE = "saliencymixplus"
PICTURE_MARK = f"Software\0{_SOFTWARE}"  # in every file that ``save_picture`` writes


@lru_cache(maxsize=1)
def _heat_colours() -> NDArray[np.float32]:
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](np.linspace(0.15, 1, 256))[:, :3] * 255, np.float32)


def save_picture(pixels: Pixels, path: Path) -> None:
    """Write ``pixels (H, W, 3)`` as a PNG file."""
    info = PngInfo()
    info.add_text("Software", _SOFTWARE)
    image = Image.fromarray(pixels)
    write_atomically(path, lambda part: image.save(part, format="PNG", pnginfo=info))


def panel_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a panel: small images are scaled by an integer, large ones reduced."""
    side = max(height, width)
    if side <= PANEL:
        times = PANEL // side
        return height * times, width * times
    return max(1, round(height * PANEL / side)), max(1, round(width * PANEL / side))


def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize ``pixels (H, W, 3)`` to (height, width): nearest if enlarged, smooth if reduced."""
    return _resized(pixels, size, Image.Resampling.LANCZOS)


def _resized(image: NDArray[Any], size: tuple[int, ...], reduce: Image.Resampling) -> NDArray[Any]:
    height, width = size
    how = Image.Resampling.NEAREST if height >= image.shape[0] else reduce
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def heat(pixels: Pixels, saliency: NDArray[np.floating[Any]]) -> Pixels:
    """Overlay a saliency map on the darkened grey image ``(H, W, 3)``.

    The map may have a different size: larger ones are averaged, so that single pixels do not look
    like noise, and smaller ones are enlarged without smoothing. The colour scale ends at the 99.5 %
    quantile, because gradient maps have outlier pixels.
    """
    values = np.nan_to_num(np.asarray(saliency, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    values = _resized(values, pixels.shape[:2], Image.Resampling.BOX)
    top = float(np.quantile(values, 0.995)) or float(values.max())
    low = float(values.min())
    fraction = np.clip((values - low) / (top - low), 0, 1) if top > low else np.zeros_like(values)
    fraction = fraction[..., None]
    grey = pixels.astype(np.float32).mean(axis=2, keepdims=True)
    glow = _heat_colours()[(fraction[..., 0] * 255).astype(np.int64)]
    weight = 0.2 + 0.8 * np.sqrt(fraction)
    mixed: np.ndarray = grey * 0.7 * (1 - weight) + glow * weight
    return mixed.clip(0, 255).astype(np.uint8)


def draw_box(pixels: Pixels, box: tuple[int, int, int, int], source: tuple[int, int]) -> Pixels:
    """Frame the half-open ``box`` (r0, c0, r1, c1 in pixels of an image of size ``source``).

    The frame is drawn outside the box, except at the image's edge.
    """
    r0, c0, r1, c1 = box
    if r1 <= r0 or c1 <= c0:
        return pixels
    height, width = pixels.shape[:2]
    down, right = height / source[0], width / source[1]
    top, left = round(r0 * down), round(c0 * right)
    bottom, far = round(r1 * down) - 1, round(c1 * right) - 1
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for grow, line in ((3, (255, 255, 255)), (2, COLOUR_B), (1, COLOUR_B)):
        draw.rectangle(
            (
                max(left - grow, 0),
                max(top - grow, 0),
                min(far + grow, width - 1),
                min(bottom + grow, height - 1),
            ),
            outline=line,
        )
    return np.array(image)


def draw_outline(
    pixels: Pixels,
    region: NDArray[np.bool_],
    colour: tuple[int, int, int] = COLOUR_B,
) -> Pixels:
    """Trace the border of ``region`` (h, w), two pixels wide, over ``pixels`` of any size."""
    from scipy.ndimage import binary_dilation, binary_erosion

    whole = region.astype(np.uint8) * 255
    inside = _resized(whole, pixels.shape[:2], Image.Resampling.BILINEAR) > 127
    line = binary_dilation(inside) & ~binary_erosion(inside, border_value=1)
    result = pixels.copy()
    result[line] = colour
    return result


def wrap_text(text: str, width: int, size: int, lines: int = 2) -> list[str]:
    """Wrap ``text`` to at most ``lines`` lines of ``width`` pixels, ending in … if truncated."""
    face = font(size, text=text)
    result: list[str] = []
    words = text.split()
    while words and len(result) < lines:
        count = 1
        while count < len(words) and face.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        if len(result) == lines - 1:
            count = len(words)
        line = " ".join(words[:count])
        words = words[count:]
        if face.getlength(line) > width:
            while line and face.getlength(line + "…") > width:
                line = line[:-1]
            line += "…"
        result.append(line)
    return result
