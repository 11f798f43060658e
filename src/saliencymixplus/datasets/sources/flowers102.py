"""Flowers-102 (Nilsback and Zisserman 2008)."""

from pathlib import Path

import numpy as np

from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_mat

_SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


def open_source(download: Download) -> Listed:
    """The official split: 1,020 training, 1,020 validation and 6,149 test images."""
    from torchvision.datasets import Flowers102

    labels = _matrix(download.folder / "imagelabels.mat", "labels")
    rows = [
        ListedPicture(f"jpg/image_{image:05d}.jpg", split, int(labels[image - 1]) - 1)
        for split, key in _SPLITS.items()
        for image in _matrix(download.folder / "setid.mat", key).tolist()
    ]
    return Listed([download.folder / "102flowers.tgz"], rows, Flowers102.classes, download)


def _matrix(path: Path, key: str) -> np.ndarray:
    return read_mat(path.read_bytes(), key, path.name)
