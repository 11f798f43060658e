"""The kinds of data sets, one file each; ``open_source`` picks by the settings."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from saliencymixplus.datasets.manifest import Manifest
from saliencymixplus.datasets.sources.base import Listing, Piece, Source
from saliencymixplus.errors import UserError
from saliencymixplus.settings import ClutterSettings, DataSettings

# Each in a file of its name, with a function open_NAME.
_LISTED = ("cub200", "flowers102", "food101", "aircraft", "cars", "imagenet", "tiny_imagenet")

__all__ = ["Listing", "Piece", "Source", "open_source"]


def open_source(manifest: Manifest, folder: Path, settings: DataSettings) -> Source:
    """Open a download folder, whose checksums the caller has verified (``manifest.verified``).

    Args:
        manifest: Of the folder.
        folder: The download.
        settings: The side that pictures are resized to, and what the source itself is told.

    Raises:
        UserError: it does not hold what it should; the message names the file or class.
    """
    size = settings.image_size
    crop = settings.crops(manifest.source)
    if manifest.source == "digits":
        from saliencymixplus.datasets.sources.digits import Digits

        return Digits(folder, size)
    if manifest.source == "clutter":
        from saliencymixplus.datasets.sources.clutter import Clutter

        return Clutter(folder, size, settings.clutter or ClutterSettings())
    if manifest.source in ("cifar10", "cifar100"):
        from saliencymixplus.datasets.sources.cifar import Cifar

        return Cifar(manifest.source, folder, size)
    if manifest.source == "oxford_pet":
        from saliencymixplus.datasets.sources.pet import Pet

        return Pet(folder, size, crop=crop)
    if manifest.source == "imagefolder":
        from saliencymixplus.datasets.sources.folder import Folder

        return Folder(folder / manifest.archives[0].name, size, crop=crop)
    if manifest.source == "stl10":
        from saliencymixplus.datasets.sources.stl10 import Stl10

        return Stl10(folder, size)
    if manifest.source in _LISTED:
        module = import_module(f"{__name__}.{manifest.source}")
        opener: Callable[..., Source] = getattr(module, f"open_{manifest.source}")
        return opener(folder, size=size, crop=crop)
    raise UserError(f"{folder} holds {manifest.source!r}, which is not a known source of images")
