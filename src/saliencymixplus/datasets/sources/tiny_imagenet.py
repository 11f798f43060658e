"""Tiny-ImageNet, 200 classes of ImageNet at 64×64 (Le and Yang 2015)."""

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.publishers import TINY_IMAGENET
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, read_lists
from saliencymixplus.errors import UserError

_TOP = "tiny-imagenet-200"


def open_source(download: Download) -> Listed:
    """100,000 training images; the 10,000 of ``val`` are the test split, as is usual.

    The labels of the official test images are not public.
    """
    archive = download.folder / TINY_IMAGENET.name
    words, validation = read_lists(archive, f"{_TOP}/words.txt", f"{_TOP}/val/val_annotations.txt")
    (codes,) = read_lists(archive, f"{_TOP}/wnids.txt", columns=1)
    label_of = {code: label for label, (code,) in enumerate(codes)}
    names = dict(words)
    rows = []
    for member in iter_members(archive):
        parts = member.name.split("/")
        if parts[:2] == [_TOP, "train"] and len(parts) == 5 and parts[2] in label_of:
            rows.append(ListedPicture(member.name, "train", label_of[parts[2]]))
    for image, rest in validation:
        code = rest.split()[0]
        if code not in label_of:
            raise UserError(f"{archive.name}: {image} in val has the unknown class {code}")
        rows.append(ListedPicture(f"{_TOP}/val/images/{image}", "test", label_of[code]))
    classes = [names.get(code, code).partition(",")[0] for code in label_of]
    return Listed([archive], sorted(rows), classes, download)
