"""Oxford-IIIT Pet (Parkhi et al. 2012) from images.tar.gz and annotations.tar.gz."""

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.decode import decode_values
from saliencymixplus.datasets.prepared import BACKGROUND, OBJECT, UNKNOWN
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, Masks, read_texts
from saliencymixplus.datasets.sources.pet_lists import PetEntry, parse_list, title
from saliencymixplus.errors import UserError

_LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
# Trimap values: 1 animal, 2 background, 3 border or not annotated.
_TRIMAP = np.full(256, 255, dtype=np.uint8)
_TRIMAP[1:4] = OBJECT, BACKGROUND, UNKNOWN


def open_source(download: Download) -> Listed:
    """The official split: trainval.txt is train, test.txt is test.

    Classes are the breeds in trainval.txt, in the publisher's order. A breed without test images
    is kept and noted, as the lists may be a subset of the data set; one with only test images is
    an error, as it cannot be learned. Images in neither list are left out.
    """
    annotations = download.folder / "annotations.tar.gz"
    texts = zip(_LISTS.items(), read_texts(annotations, *_LISTS.values()), strict=True)
    lists = {split: parse_list(text, name) for (split, name), text in texts}
    trained, tested = ({row.image for row in listed} for listed in lists.values())
    for image in sorted(trained & tested):
        raise UserError(f"{image} is in both lists, {' and '.join(_LISTS.values())}")
    present, notes = _breeds(lists)
    rows = [
        ListedPicture(f"images/{row.image}.jpg", split, present.index(row.breed))
        for split, listed in lists.items()
        for row in listed
    ]
    pictures = {f"annotations/trimaps/{x}.png": f"images/{x}.jpg" for x in trained | tested}
    has_masks = any(member.name in pictures for member in iter_members(annotations))
    return Listed(
        [download.folder / "images.tar.gz"],
        rows,
        [title(breed) for breed in present],
        download,
        masks=Masks(annotations, pictures, _mask) if has_masks else None,
        notes=notes,
    )


def _breeds(lists: dict[str, list[PetEntry]]) -> tuple[list[int], list[str]]:
    """The breeds to learn, and a note on those that are not tested."""
    trained, tested = ({row.breed for row in lists[split]} for split in _LISTS)
    for breed in sorted(tested - trained):
        raise UserError(
            f"breed {title(breed)} is in {_LISTS['test']} but not in {_LISTS['train']}: "
            "it cannot be learned"
        )
    present = sorted(trained)
    if len(present) < 2:
        raise UserError(f"{_LISTS['train']} lists only one breed: at least two are needed")
    untested = [title(breed) for breed in present if breed not in tested]
    if not untested:
        return present, []
    names = ", ".join(untested[:3]) + (", …" if len(untested) > 3 else "")
    return present, [f"{len(untested)} of {len(present)} breeds have no test image: {names}"]


def _mask(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    values = _TRIMAP[decode_values(content, name)]
    if (values == 255).any():
        raise UserError(f"{name} is not a trimap: it has values other than 1, 2 and 3")
    return values
