"""CUB-200-2011, 200 species of birds (Wah et al. 2011)."""

from saliencymixplus.datasets.publishers import CUB
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_lists, whole_number

_TOP = "CUB_200_2011"


def open_source(download: Download) -> Listed:
    """The official split: 5,994 training and 5,794 test images."""
    archive = download.folder / CUB.name
    names = ("images", "image_class_labels", "train_test_split", "classes")
    images, labels, splits, classes = read_lists(archive, *(f"{_TOP}/{n}.txt" for n in names))
    label_of = {image: whole_number(label, archive) - 1 for image, label in labels}
    is_training = dict(splits)
    rows = [
        ListedPicture(
            f"{_TOP}/images/{file}",
            "train" if is_training.get(image) == "1" else "test",
            label_of.get(image, -1),
        )
        for image, file in images
    ]
    # "001.Black_footed_Albatross"
    titles = [name.partition(".")[2].replace("_", " ") for _, name in classes]
    return Listed([archive], rows, titles, download)
