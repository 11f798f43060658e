"""FGVC-Aircraft, 100 variants (Maji et al. 2013)."""

from saliencymixplus.datasets.publishers import AIRCRAFT
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_lists
from saliencymixplus.errors import UserError

_TOP = "fgvc-aircraft-2013b/data"


def open_source(download: Download) -> Listed:
    """The usual split, with trainval as train: 6,667 training and 3,333 test images."""
    archive = download.folder / AIRCRAFT.name
    lists = {"train": "images_variant_trainval", "test": "images_variant_test"}
    tables = read_lists(archive, *(f"{_TOP}/{name}.txt" for name in lists.values()))
    variants = sorted({variant for table in tables for _, variant in table})
    label_of = {variant: label for label, variant in enumerate(variants)}
    rows = [
        ListedPicture(f"{_TOP}/images/{image}.jpg", split, label_of[variant])
        for split, table in zip(lists, tables, strict=True)
        for image, variant in table
    ]
    if not rows:
        raise UserError(f"{archive.name} lists no images")
    return Listed([archive], rows, variants, download)
