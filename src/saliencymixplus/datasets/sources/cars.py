"""Stanford Cars, 196 models (Krause et al. 2013)."""

from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_mat, read_members


def open_source(download: Download) -> Listed:
    """The official split: 8,144 training and 8,041 test images.

    The publisher's server no longer has the archives, so a ``download.mirror`` is needed.
    """
    devkit = download.folder / "car_devkit.tgz"
    meta, train = read_members(devkit, "devkit/cars_meta.mat", "devkit/cars_train_annos.mat")
    test = (download.folder / "cars_test_annos_withlabels.mat").read_bytes()
    rows = [
        ListedPicture(f"cars_{split}/{annotation['fname']}", split, int(annotation["class"]) - 1)
        for split, content in (("train", train), ("test", test))
        for annotation in read_mat(content, "annotations", f"cars_{split}_annos")
    ]
    classes = [str(name) for name in read_mat(meta, "class_names", "cars_meta")]
    archives = [download.folder / "cars_train.tgz", download.folder / "cars_test.tgz"]
    return Listed(archives, rows, classes, download)
