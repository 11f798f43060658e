"""The kinds of data sets: one file each, named like the source, with a function ``open_source``."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import get_args

from saliencymixplus.datasets.manifest import Manifest
from saliencymixplus.datasets.sources.base import Download, Listing, Piece, Source
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DataSettings
from saliencymixplus.settings.data import SourceName

__all__ = ["Listing", "Piece", "Source", "open_source"]


def open_source(manifest: Manifest, folder: Path, settings: DataSettings) -> Source:
    """Open a download folder after the caller verified its checksums (``manifest.verified``)."""
    name = manifest.source
    if name not in get_args(SourceName):
        raise UserError(f"{folder} holds {name!r}, which is not a known source of images")
    module = import_module(f"{__name__}.{'cifar' if name.startswith('cifar') else name}")
    opener: Callable[[Download], Source] = module.open_source
    return opener(Download(folder, manifest, settings))
