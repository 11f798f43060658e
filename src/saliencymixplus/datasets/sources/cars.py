"""Stanford Cars, 196 models (Krause et al. 2013)."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_members
from saliencymixplus.errors import UserError


def open_cars(folder: Path, *, size: int, crop: bool) -> Listed:
    """The official split: 8,144 training and 8,041 test images.

    The publisher's server no longer has the archives, so a ``download.mirror`` is needed.
    """
    devkit = folder / "car_devkit.tgz"
    meta, train = read_members(devkit, "devkit/cars_meta.mat", "devkit/cars_train_annos.mat")
    test = (folder / "cars_test_annos_withlabels.mat").read_bytes()
    rows = [
        ListedPicture(f"cars_{split}/{annotation['fname']}", split, int(annotation["class"]) - 1)
        for split, content in (("train", train), ("test", test))
        for annotation in _structure(content, "annotations", split)
    ]
    classes = [str(name) for name in _structure(meta, "class_names", "meta")]
    archives = [folder / "cars_train.tgz", folder / "cars_test.tgz"]
    return Listed(archives, rows, classes, size=size, crop=crop)


def _structure(content: bytes, key: str, what: str) -> Any:
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(BytesIO(content), squeeze_me=True)[key])
    except Exception as error:  # scipy raises all kinds of errors on damaged files
        raise UserError(f"Stanford Cars: cannot read {key!r} of {what}: {error}") from error
