"""A colour and a marker for each method, the same in every figure and in MLflow.

The colours are from the colour-blind-safe palettes of Okabe and Ito (2008) and Tol (2021). Markers
differ, too, so that figures remain readable in greyscale.
"""

import zlib

# Fixed styles. Methods not listed here get spare ones, chosen by name.
LOOKS = {
    "none": ("#555555", "o"),
    "cutmix": ("#0072B2", "s"),
    "saliencymix": ("#009E73", "^"),
    "saliencymixplus": ("#D55E00", "D"),
    "saliencymixplus-excess": ("#AA4499", "d"),
    "mixup": ("#CC79A7", "v"),
    "resizemix": ("#56B4E9", "P"),
    "fmix": ("#E69F00", "X"),
    "gridmix": ("#882255", "p"),
    "smoothmix": ("#117733", "<"),
    "guidedsr": ("#332288", ">"),
}
SPARE_COLOURS = ("#56B4E9", "#E69F00", "#882255", "#117733", "#332288", "#999933", "#AA4499")
SPARE_MARKERS = ("P", "X", "p", "<", ">", "h", "*")


def look(name: str, step: int = 0) -> tuple[str, str]:
    """Colour (``#rrggbb``) and marker of a recipe by its name in params.yaml.

    ``step`` counts the alternatives for a recipe without a fixed style.
    """
    if name in LOOKS:
        return LOOKS[name]
    code = zlib.crc32(name.encode()) + step
    marker = SPARE_MARKERS[code // len(SPARE_COLOURS) % len(SPARE_MARKERS)]
    # Plain training is always grey, including variants such as "none (epochs=5)".
    if name.startswith("none ("):
        return LOOKS["none"][0], marker
    return SPARE_COLOURS[code % len(SPARE_COLOURS)], marker
