"""Records of all mixed samples in an audit, stored by column, and audit.csv."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saliencymixplus import escape
from saliencymixplus.files import write_csv

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """Columns with one entry per mixed sample."""

    batch: Indices  # number of the batch
    image_a: Indices  # position in the split
    image_b: Indices
    label_a: Indices
    label_b: Indices
    lam: Numbers  # assigned to the sample
    effective_lam: Numbers  # the λ used in the loss: the batch mean if the loss averages λ
    area_lam: Numbers  # 1 − fraction of pixels taken from b
    visible_a: Numbers  # v_a
    visible_b: Numbers  # v_b
    true_lam: Numbers  # v_a / (v_a + v_b)
    true_pixel_lam: Numbers  # the same, counting object pixels
    region: Numbers  # fraction of pixels taken from b
    map_on_object: Numbers  # fraction of a's saliency map on a's object; NaN without a map
    object_area: Numbers  # a's object's fraction of the pixels: an uninformative map's value
    peak_on_object: Numbers  # 1 if the map's peak is on the object, else 0; NaN without a map

    def __len__(self) -> int:
        return len(self.lam)


def joined(parts: Sequence[Records]) -> Records:
    """Concatenate records in order."""
    return Records(
        **{
            spec.name: np.concatenate([getattr(part, spec.name) for part in parts])
            for spec in fields(Records)
        }
    )


def write_records(path: Path, records: Mapping[str, Records], files: Sequence[str] = ()) -> None:
    """Write one row per mixed sample of every recipe; ``files`` names the split's images."""
    names = [spec.name for spec in fields(Records)]
    first = names.index("image_a")

    def lines() -> Iterator[Iterable[str]]:
        for mix, rows in records.items():
            columns = [getattr(rows, name).tolist() for name in names]
            for row in zip(*columns, strict=True):
                cells = [f"{v:.5g}" if isinstance(v, float) else str(v) for v in row]
                more = [files[row[first]], files[row[first + 1]]] if files else []
                yield map(escape.csv, [mix, *cells, *more])

    write_csv(path, ["mix", *names, *(["file_a", "file_b"] if files else [])], lines())
