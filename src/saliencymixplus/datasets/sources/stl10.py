"""The labelled part of STL-10 (Coates et al. 2011)."""

import numpy as np

from saliencymixplus.datasets.sources.arrays import Arrays
from saliencymixplus.datasets.sources.base import Download, Listing
from saliencymixplus.datasets.sources.listed import read_members
from saliencymixplus.errors import UserError

_SPLITS = ("train", "test")
_SIDE = 96
_UNLABELLED = 4 << 30  # bytes, more than the unlabelled part, which is skipped


def open_source(download: Download) -> Arrays:
    """The official split: 5,000 training and 8,000 test images of 96×96 (360 MB). No masks."""
    from torchvision.datasets import STL10

    archive, top = download.folder / STL10.filename, STL10.base_folder
    names = [STL10.class_names_file, *(f"{split}_{k}.bin" for split in _SPLITS for k in "Xy")]
    members = read_members(archive, *(f"{top}/{name}" for name in names), largest=_UNLABELLED)
    found = dict(zip(names, members, strict=True))
    classes = tuple(found[STL10.class_names_file].decode().split())
    images, labels, files = {}, {}, {}
    for split in _SPLITS:
        labels[split] = np.frombuffer(found[f"{split}_y.bin"], np.uint8).astype(np.int64) - 1
        pixels = np.frombuffer(found[f"{split}_X.bin"], np.uint8)
        count = len(labels[split])
        known = set(labels[split].tolist()) <= set(range(len(classes)))
        if len(pixels) != count * 3 * _SIDE**2 or not known:
            raise UserError(f"{archive.name}: {split}_X.bin and {split}_y.bin do not agree")
        # Stored by channel, in column-major order.
        images[split] = pixels.reshape(count, 3, _SIDE, _SIDE).transpose(0, 3, 2, 1)
        files[split] = tuple(f"{split}/{row:04d}" for row in range(count))
    return Arrays(Listing(classes, files, labels), images, download.settings.image_size)
