"""The kinds of data sets, one file each; ``open_source`` opens the one in the settings."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from saliencymixplus.datasets.manifest import Manifest
from saliencymixplus.datasets.sources.base import Listing, Piece, Source
from saliencymixplus.errors import UserError
from saliencymixplus.settings import ClutterSettings, DataSettings

# Each is in a file of that name, with a function open_NAME.
_LISTED = ("cub200", "flowers102", "food101", "aircraft", "cars", "imagenet", "tiny_imagenet")

__all__ = ["Listing", "Piece", "Source", "open_source"]


def open_source(manifest: Manifest, folder: Path, settings: DataSettings) -> Source:
    """Open a download folder after the caller verified its checksums (``manifest.verified``).

    Args:
        manifest: the folder's manifest.
        folder: the download folder.
        settings: the image size, and settings of the source itself.

    Raises:
        UserError: the content is not as expected; the message names the file or class.
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
