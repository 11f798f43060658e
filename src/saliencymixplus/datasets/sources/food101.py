"""Food-101 (Bossard et al. 2014)."""

from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_lists
from saliencymixplus.errors import UserError


def open_source(download: Download) -> Listed:
    """The official split: 750 training and 250 test images of each of 101 dishes."""
    archive = download.folder / "food-101.tar.gz"
    names = ("classes", "train", "test")
    classes, *lists = read_lists(archive, *(f"food-101/meta/{n}.txt" for n in names), columns=1)
    label_of = {name: label for label, (name,) in enumerate(classes)}
    rows = []
    for split, listed in zip(names[1:], lists, strict=True):
        for (image,) in listed:
            dish = image.partition("/")[0]
            if dish not in label_of:
                raise UserError(f"{archive.name}: {image} in {split}.txt has an unknown class")
            rows.append(ListedPicture(f"food-101/images/{image}.jpg", split, label_of[dish]))
    titles = [name.replace("_", " ") for (name,) in classes]
    return Listed([archive], rows, titles, download)
