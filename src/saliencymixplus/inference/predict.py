"""Classify pictures with a trained run, preprocessed exactly like its test images."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size

from saliencymixplus.datasets.decode import decoding
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.classifier import classifier_of
from saliencymixplus.evaluation.localisation import class_activation_maps, feature_module
from saliencymixplus.inference.collect import EncodedPicture
from saliencymixplus.pictures.drawing import GREY, INK, heat, panel_size, scaled
from saliencymixplus.pictures.layout import CaptionedPanel, CellRow, draw_rows, fitting, wrapped
from saliencymixplus.runs.read import Run
from saliencymixplus.serving.images import Preparation
from saliencymixplus.serving.pyfunc import ranked
from saliencymixplus.tables import Column, Table, Value, number

Pixels = NDArray[np.uint8]
_AT_ONCE = 64


@dataclass(frozen=True)
class Prediction:
    """The classes predicted for one picture, or the reason it could not be read."""

    name: str
    classes: tuple[str, ...] = ()  # most probable first
    probabilities: tuple[float, ...] = ()
    error: str = ""  # why the picture could not be read; the other fields are then empty
    pixels: Pixels | None = None  # (S, S, 3), the network's input before normalisation
    activation: NDArray[np.float32] | None = None  # (S, S), Grad-CAM of the top class

    def as_json(self) -> dict[str, Any]:
        """JSON fields: the picture, and either its classes with probabilities or the error."""
        if self.error:
            return {"picture": self.name, "error": self.error}
        ranked = zip(self.classes, self.probabilities, strict=True)
        named = [{"class": name, "probability": round(value, 6)} for name, value in ranked]
        return {"picture": self.name, "classes": named}


class Predictor:
    """A run's network with its preprocessing.

    Args:
        run: a finished run.
        which: which of its weights to use, such as ``last`` or ``best_validation``.
        device: where the network runs.
        activations: also compute Grad-CAM maps (Selvaraju et al. 2017, arXiv:1610.02391).

    Raises:
        UserError: the run has no such weights, or ``activations`` is set and the network has no
            feature maps.
    """

    def __init__(
        self, run: Run, which: str, device: torch.device, *, activations: bool = False
    ) -> None:
        self.classes: Sequence[str] = run.data.classes
        crop = run.settings.data.crops(run.settings.download.source)
        self._preparation = Preparation(run.data.image_size[0], crop, run.data.bits)
        self._classifier = classifier_of(run, which).to(device)
        self._layer: str | None = None
        if activations:
            blank = torch.zeros(2, 3, *run.input_size, device=device)
            self._layer = feature_module(self._classifier, blank)
            if self._layer is None:
                raise UserError(
                    f"{run.settings.model.name} has no feature maps to draw: leave out --cam"
                )

    def __call__(self, pictures: Iterable[EncodedPicture], top: int) -> Iterator[Prediction]:
        """Yield predictions in the order of ``pictures``, each with its ``top`` classes."""
        waiting = iter(pictures)
        with decoding():
            while chunk := list(islice(waiting, _AT_ONCE)):
                yield from self._predicted(chunk, top)

    def _predicted(self, chunk: list[EncodedPicture], top: int) -> list[Prediction]:
        read: dict[int, Pixels] = {}
        found: dict[int, Prediction] = {}
        for place, picture in enumerate(chunk):
            try:
                read[place] = self._preparation.decoded(picture.content, picture.name)
            except UserError as error:  # one bad picture must not fail the others
                found[place] = Prediction(picture.name, error=str(error))
        if read:
            found |= self._classified(chunk, read, top)
        return [found[place] for place in range(len(chunk))]

    def _classified(
        self, chunk: list[EncodedPicture], read: dict[int, Pixels], top: int
    ) -> dict[int, Prediction]:
        pixels = self._classifier.pixels(np.stack(list(read.values())))
        with torch.inference_mode():
            values, order = ranked(self._classifier(pixels), top)
        maps: list[NDArray[np.float32] | None] = [None] * len(read)
        if self._layer is not None:
            # Tensors created in inference mode cannot be used in autograd; clones can.
            cams = class_activation_maps(
                self._classifier, pixels.clone(), order[:, 0].clone(), self._layer
            )
            cams = torch.nn.functional.interpolate(
                cams[:, None], size=pixels.shape[2:], mode="bilinear"
            )[:, 0]
            maps = [*cams.cpu().numpy()]
        shown = (pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return {
            place: Prediction(
                name=chunk[place].name,
                classes=tuple(self.classes[k] for k in order[row].tolist()),
                probabilities=tuple(values[row].tolist()),
                pixels=shown[row],
                activation=maps[row],
            )
            for row, place in enumerate(read)
        }


def least_certain(predictions: Sequence[Prediction], count: int) -> list[Prediction]:
    """The ``count`` predictions with the lowest top-class probability, in ascending order."""
    readable = [found for found in predictions if not found.error]
    return sorted(readable, key=lambda found: found.probabilities[0])[:count]


def as_table(predictions: Sequence[Prediction], *, short: bool = False, width: int = 100) -> Table:
    """One row per readable picture: its classes with their probabilities in percent.

    ``short``, for a terminal of ``width`` columns, puts each probability beside its class, strips
    the pictures' common parent folder, and shortens names in the middle if they do not fit.
    """
    readable = [found for found in predictions if not found.error]
    ranks = max((len(found.classes) for found in readable), default=1)
    columns = [Column("picture", "left", no_wrap=True)]
    for rank in range(1, ranks + 1):
        columns.append(Column(f"class {rank}", "left", no_wrap=short))
        if not short:
            columns.append(Column(f"percent {rank}", format=lambda value: number(value, 1)))
    if short:
        return Table(columns, _short_rows(readable, ranks, width))
    rows: list[list[Value]] = []
    for found in readable:
        cells: list[Value] = [found.name]
        for name, probability in zip(found.classes, found.probabilities, strict=True):
            cells += [name, 100.0 * probability]
        rows.append(cells)
    return Table(columns, rows)


def _short_rows(readable: Sequence[Prediction], ranks: int, width: int) -> list[list[Value]]:
    parents = [os.path.dirname(found.name) for found in readable]  # noqa: PTH120 - not all are paths
    common = os.path.commonpath(parents) if readable and all(parents) else ""
    pictures = [
        found.name[len(common) :].lstrip("/\\") if common else found.name for found in readable
    ]
    percents = [[f" {number(100.0 * p, 1)} %" for p in found.probabilities] for found in readable]
    # Each column of the table is followed by two blank columns of the terminal.
    room = width - 2 - sum(2 + _widest(row[k] for row in percents) for k in range(ranks))
    longest = max(8, (room - min(_widest(pictures), room // 4)) // ranks)
    classes = [[_shortened(name, longest) for name in found.classes] for found in readable]
    room -= sum(_widest(row[k] for row in classes) for k in range(ranks))
    return [
        [_shortened(picture, room), *map(str.__add__, names, beside)]
        for picture, names, beside in zip(pictures, classes, percents, strict=True)
    ]


def _widest(texts: Iterable[str]) -> int:
    """Width of the widest of ``texts`` in columns of a terminal."""
    return max(map(cell_len, texts), default=0)


def _shortened(name: str, longest: int) -> str:
    """``name`` in at most ``longest`` columns of a terminal, with … for its middle if longer."""
    if cell_len(name) <= longest:
        return name
    half = max(longest - 1, 0) // 2
    return f"{set_cell_size(name, half)}…{set_cell_size(name[::-1], half)[::-1]}"


def contact_sheet(predictions: Sequence[Prediction], title: str) -> Pixels:
    """Draw the predictions as captioned panels, uint8 (height, width, 3).

    A prediction's activation map, if any, is drawn over its picture.
    """
    cells, width = [], 1
    for found in predictions:
        assert found.pixels is not None
        size = panel_size(*found.pixels.shape[:2])
        width = size[1]
        panel = found.pixels if found.activation is None else heat(found.pixels, found.activation)
        # The percentage first: long names are cut off.
        text = f"{found.probabilities[0]:.0%} {found.classes[0]}"
        name = found.name.replace("\\", "/").rsplit("/", 1)[-1]
        captions = [*wrapped(text, INK, size[1], lines=1), *wrapped(name, GREY, size[1], lines=1)]
        cells.append(CaptionedPanel(scaled(panel, size), captions))
    columns = min(8, fitting(width))
    rows = [CellRow(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return draw_rows(rows, title=title)
