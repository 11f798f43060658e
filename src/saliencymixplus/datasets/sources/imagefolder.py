"""The user's own pictures: an archive of SPLIT/CLASS/* or CLASS/*, with or without masks."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.archives import iter_members
from saliencymixplus.datasets.decode import ALL_BITS, bits_in_use, decode_values, upright_size
from saliencymixplus.datasets.parallel import in_parallel
from saliencymixplus.datasets.sources.base import Download
from saliencymixplus.datasets.sources.layout import Layout, read_layout
from saliencymixplus.datasets.sources.listed import Listed, ListedPicture, Masks
from saliencymixplus.errors import UserError

# The first bytes of formats that may have more than 8 bits per channel: PNG, TIFF, PGM, PPM.
_MAY_BE_DEEP = (b"\x89PNG", b"II", b"MM", b"P2", b"P3", b"P5", b"P6")
Size = tuple[int, int]  # width and height


def open_source(download: Download) -> Listed:
    """An archive with a layout that ``read_layout`` accepts.

    Classes and pictures are sorted by name, whatever the order in the archive. Pictures with 16
    bits per channel, of which often only 8 or 12 are used, are all scaled by the largest value in
    any of them. Masks are 0 on the background.
    """
    archive = download.folder / download.manifest.archives[0].name
    names: dict[bool, list[str]] = {True: [], False: []}
    for member in iter_members(archive):
        names[member.is_folder].append(member.name)
    layout = read_layout(names[False], names[True], archive.name)
    rows = [
        ListedPicture(file, split, label)
        for split, classes in layout.pictures.items()
        for label, files in enumerate(classes.values())
        for file in files
    ]
    sizes: dict[str, Size] = {}
    bits, notes = _bits_in_use(archive, {row.member for row in rows}, layout, sizes)

    def mask(content: bytes, name: str) -> npt.NDArray[np.uint8]:
        return _mask(content, name, layout.masks[name], sizes)

    return Listed(
        [archive],
        rows,
        list(layout.pictures["train"]),
        download,
        masks=Masks(archive, layout.masks, mask) if layout.masks else None,
        notes=[*layout.notes, *notes],
        bits=bits,
    )


def _bits_in_use(
    archive: Path, names: set[str], layout: Layout, sizes: dict[str, Size]
) -> tuple[int, list[str]]:
    """The largest number of bits that any 16-bit picture uses, with notes on it.

    All pictures are read for that, and the sizes of those that have masks are added to ``sizes``.
    """
    masked = set(layout.masks.values())

    def deep() -> Iterator[tuple[bytes, str]]:
        for member in iter_members(archive):
            if member.name in names:
                content = member.read()
                if member.name in masked:
                    sizes[member.name] = upright_size(content, member.name)
                if content.startswith(_MAY_BE_DEEP):
                    yield content, member.name

    found = in_parallel(lambda item: bits_in_use(*item), deep())
    used = sorted((bits, name) for (_, name), bits in found if bits)
    if not used:
        return ALL_BITS, []
    notes = []
    most, name = used[-1]
    typical, _ = used[len(used) // 2]
    if most - typical >= 4:  # the others come out with a sixteenth of the range, or less
        notes.append(
            f"{name} uses {most} of 16 bits, by which all pictures are scaled, but most use at "
            f"most {typical}: check it"
        )
    if most < ALL_BITS:
        notes.append(f"pictures of 16 bits hold values of {most} bits: scaled by these")
    return most, notes


def _mask(
    content: bytes, name: str, picture: str, sizes: Mapping[str, Size]
) -> npt.NDArray[np.uint8]:
    values = decode_values(content, name)
    height, width = values.shape
    if (width, height) != sizes[picture]:
        expected = "×".join(map(str, sizes[picture]))
        raise UserError(
            f"{name} has {width}×{height} pixels, but its picture {picture} has {expected}: they "
            "must be of the same size"
        )
    return (values > 0).astype(np.uint8)
