"""A name, a colour and a marker for each method, the same in every figure and in MLflow.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; the markers differ too, so
that a figure survives a grey printer.
"""

import zlib

METHODS = {
    "none": ("No mixing", "#555555", "o"),
    "cutmix": ("CutMix", "#0072B2", "s"),
    "saliencymix": ("SaliencyMix", "#009E73", "^"),
    "saliencymixplus": ("SaliencyMix+", "#D55E00", "D"),
    "mixup": ("mixup", "#CC79A7", "v"),
    "resizemix": ("ResizeMix", "#56B4E9", "P"),
    "fmix": ("FMix", "#E69F00", "X"),
    "gridmix": ("GridMix", "#882255", "p"),
    "smoothmix": ("SmoothMix", "#117733", "<"),
    "guidedsr": ("Guided-SR", "#332288", ">"),
}
SPARE_COLOURS = ("#56B4E9", "#E69F00", "#882255", "#117733", "#332288", "#999933", "#AA4499")
SPARE_MARKERS = ("P", "X", "p", "<", ">", "h", "*")


def colour(name: str) -> str:
    """The colour of a recipe by its name in params.yaml, as ``#rrggbb``."""
    if name in METHODS:
        return METHODS[name][1]
    return SPARE_COLOURS[zlib.crc32(name.encode()) % len(SPARE_COLOURS)]
