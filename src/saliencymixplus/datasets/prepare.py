"""Decode a download once, to square uint8 arrays that training can memory-map."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from saliencymixplus.datasets.content import channel_statistics, check_content
from saliencymixplus.datasets.decode import decoding
from saliencymixplus.datasets.manifest import verified
from saliencymixplus.datasets.parallel import chunks, in_parallel
from saliencymixplus.datasets.prepared import (
    META,
    UNKNOWN,
    Meta,
    arrays_digest,
    counts_text,
    layout,
)
from saliencymixplus.datasets.sources import Listing, Source, open_source
from saliencymixplus.datasets.splits import stratified
from saliencymixplus.errors import UserError
from saliencymixplus.files import write_json
from saliencymixplus.folders import whole_directory
from saliencymixplus.progress import Report, progress
from saliencymixplus.settings import DataSettings
from saliencymixplus.version import __version__

# (split, row) in the source -> (split, row) among the arrays
Places = dict[str, list[tuple[str, int]]]
Arrays = dict[str, dict[str, npt.NDArray[np.uint8]]]  # kind -> split -> (N, H, W[, 3])

# Pictures per thread task: enough to amortise the overhead, few enough to hold in memory.
_CHUNK = 32


def prepare(
    settings: DataSettings, source: Path, destination: Path, *, report: Report = print
) -> None:
    """Decode the download in ``source`` to arrays in ``destination``.

    Writes ``{train,val,test}_{images,labels,saliency,masks}.npy``, ``…_files.json`` and
    ``meta.json``; ``datasets.prepared`` reads them. The validation split is a stratified sample of
    the training images. The same download and settings give the same bytes.

    Args:
        settings: size, splits, mean and standard deviation.
        source: a folder written by `download`; its checksums are verified first.
        destination: replaced as a whole at the end; unchanged if anything fails.
        report: receives messages for the user.

    Raises:
        UserError: the download or a file in it is missing or damaged; the message names it.
    """
    manifest = verified(source)
    with decoding():
        opened = open_source(manifest, source, settings)
    listing = opened.listing
    places, files = _placed(listing, settings)
    counts = {split: len(names) for split, names in files.items()}
    size = settings.image_size
    draft = Meta(
        name=manifest.name,
        classes=list(listing.classes),
        image_size=(size, size),
        mean=settings.mean or (0, 0, 0),
        std=settings.std or (1, 1, 1),
        counts=counts,
        digest="",
        source=manifest.source,
        archives={entry.name: entry.sha256 for entry in manifest.archives},
        settings=settings.model_dump(mode="json"),
        has_saliency=True,
        has_masks=listing.has_masks,
        bits=listing.bits,
        notes=list(listing.notes),
        prepared_with=_versions(),
    )
    for note in listing.notes:
        report(f"note: {note}")
    with whole_directory(destination) as part:
        arrays = _create(part, draft)
        _decode(opened, places, arrays, report)
        for split, names in files.items():
            write_json(part / f"{split}_files.json", names)
        _add_saliency(arrays, report)
        labels = _write_labels(part, listing, places, counts)
        notes = check_content(arrays["images"], labels, files, listing.classes)
        for note in notes:
            report(f"note: {note}")
        final: dict[str, Any] = {"notes": [*listing.notes, *notes]}
        if settings.mean is None:
            final["mean"], final["std"] = channel_statistics(arrays["images"]["train"])
        for by_split in arrays.values():
            for array in by_split.values():
                if isinstance(array, np.memmap):
                    array.flush()
        final["digest"] = arrays_digest(part, draft)
        meta = draft.model_copy(update=final)
        write_json(part / META, meta.model_dump(mode="json"))
    report(
        f"prepared {meta.name}: {counts_text(counts)} images of {len(meta.classes)} classes at "
        f"{size}×{size}, digest {meta.digest[:16]}"
    )


def _placed(listing: Listing, settings: DataSettings) -> tuple[Places, dict[str, list[str]]]:
    """The destination of each listed picture, and the file names of each split in that order."""
    targets = {
        split: np.full(len(names), split, dtype=object) for split, names in listing.files.items()
    }
    for split, key, fraction in (
        ("test", "data.test_fraction", settings.test_fraction),
        ("val", "data.validation_fraction", settings.validation_fraction),
    ):
        if not fraction:
            continue
        if split in listing.files:
            raise UserError(
                f"the data already have a {split} split: leave out {key}, or move the "
                f"{split} folder away"
            )
        rows = np.flatnonzero(targets["train"] == "train")
        labels = listing.labels["train"][rows]
        _, off = stratified(labels, fraction, settings.split_seed, listing.classes, key)
        targets["train"][rows[off]] = split
    places: Places = {}
    files: dict[str, list[str]] = {}
    for source, names in listing.files.items():
        places[source] = []
        for target, name in zip(targets[source], names, strict=True):
            row = files.setdefault(target, [])
            places[source].append((target, len(row)))
            row.append(name)
    if "test" not in files:
        raise UserError(
            "the pictures have no test split: set aside a fraction of each class with "
            "`test_fraction: 0.2` under `data:` of the experiment in params.yaml, or "
            "--set EXPERIMENT.data.test_fraction=0.2"
        )
    return places, files


def _create(part: Path, meta: Meta) -> Arrays:
    """Create memory-mapped .npy files, so that the data set need not fit into memory."""
    arrays: Arrays = {}
    for split in meta.counts:
        for kind, (shape, dtype) in layout(meta, split).items():
            if kind != "labels":
                array = np.lib.format.open_memmap(
                    part / f"{split}_{kind}.npy", mode="w+", dtype=dtype, shape=shape
                )
                arrays.setdefault(kind, {})[split] = array
                if kind == "masks":
                    array[:] = UNKNOWN
    return arrays


def _decode(source: Source, places: Places, arrays: Arrays, report: Report) -> None:
    seen = {split: np.zeros(len(rows), dtype=bool) for split, rows in places.items()}
    total = sum(len(rows) for rows in places.values())
    with decoding(), progress("decoding", total, report) as advance:
        made = in_parallel(
            lambda pieces: [piece.make() for piece in pieces], chunks(source.pieces(), _CHUNK)
        )
        for pieces, results in made:
            for piece, result in zip(pieces, results, strict=True):
                split, row = places[piece.split][piece.row]
                arrays[piece.kind][split][row] = result
                if piece.kind == "images":
                    seen[piece.split][piece.row] = True
            advance(sum(piece.kind == "images" for piece in pieces))
    for split, found in seen.items():
        if not found.all():
            name = source.listing.files[split][int(np.argmin(found))]
            raise UserError(f"{name} is listed in {split} but its image is missing")


def _add_saliency(arrays: Arrays, report: Report) -> None:
    """Add OpenCV's fine-grained saliency of the uint8 images."""
    from saliencymixplus.datasets.fine_grained import fine_grained

    total = sum(len(images) for images in arrays["images"].values())
    with progress("saliency", total, report) as advance:
        for split, images in arrays["images"].items():
            starts = range(0, len(images), _CHUNK)
            work = ((start, images[start : start + _CHUNK]) for start in starts)
            for (start, chunk), maps in in_parallel(lambda item: fine_grained(item[1]), work):
                arrays["saliency"][split][start : start + len(chunk)] = maps
                advance(len(chunk))


def _write_labels(
    part: Path, listing: Listing, places: Places, counts: dict[str, int]
) -> dict[str, npt.NDArray[np.int64]]:
    labels = {split: np.empty(count, dtype=np.int64) for split, count in counts.items()}
    for split, rows in places.items():
        for (target, row), label in zip(rows, listing.labels[split], strict=True):
            labels[target][row] = label
    for split, values in labels.items():
        np.save(part / f"{split}_labels.npy", values, allow_pickle=False)
    return labels


def _versions() -> dict[str, str]:
    from cv2 import __version__ as opencv

    return {
        "saliencymixplus": __version__,
        "numpy": np.__version__,
        "pillow": version("pillow"),
        "opencv": opencv,
        "scikit-learn": version("scikit-learn"),
    }
