"""ImageNet, ILSVRC2012: 1000 classes (Russakovsky et al. 2015)."""

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.imagenet_folder import NAMES
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_lists
from saliencymixplus.datasets.user_images import PACKED


def open_source(download: Download) -> Listed:
    """1,281,167 training images; the 50,000 of ``val`` are the test split, as is usual.

    Classes are in the order of their codes, as in torchvision and timm, so that their pretrained
    heads fit. The labels of the official test images are not public.
    """
    archive = download.folder / PACKED
    pictures: list[tuple[str, str, str]] = []  # split, code, name in the archive
    named = False
    for member in iter_members(archive):
        parts = member.name.split("/")
        if len(parts) == 3 and parts[0] in ("train", "val"):
            pictures.append(("train" if parts[0] == "train" else "test", parts[1], member.name))
        named = named or member.name == NAMES
    codes = sorted({code for _, code, _ in pictures})
    label_of = {code: label for label, code in enumerate(codes)}
    names = dict(read_lists(archive, NAMES)[0]) if named else {}
    rows = [ListedPicture(name, split, label_of[code]) for split, code, name in sorted(pictures)]
    classes = [names.get(code, code).partition(",")[0] for code in codes]
    return Listed([archive], rows, classes, download)
