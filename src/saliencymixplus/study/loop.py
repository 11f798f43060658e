"""The feedback loop of methods that take saliency from the network they train.

Boxes and labels depend on the saliency maps, the maps on the network, and the network on the
labels. This module follows that loop over the epochs whose weights a run saved.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from saliencymixplus.audit.measure import mix_and_record
from saliencymixplus.audit.statistics import resampled
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.mixing import create
from saliencymixplus.pictures.style import (
    REFERENCE,
    figure_grid,
    finish_axes,
    method_styles,
    shared_legend,
)
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings


class StudyCell(NamedTuple):
    """The data of a cell. Cells sort by amount of data, then by size."""

    train_digits: int
    image_size: int  # side in pixels
    object_size: int  # side in pixels


@dataclass(frozen=True)
class Epoch:
    """A network during training, and the mixed labels it would produce."""

    object_size: int  # pixels
    train_digits: int
    method: str
    seed: int
    epoch: int
    top1_error: float  # percent of the test images
    label_error: float  # mean |λ − λ*|
    no_object: float  # fraction of the pasted regions that show no object
    map_on_object: float  # fraction of each saliency map that lies on the object
    peak_on_object: float  # fraction of the maps whose peak is on the object
    object_area: float  # fraction of the pixels that are object: chance for the two above


def follow(
    prepared: Path,
    mix: MixSettings,
    runs: Mapping[int, Path],
    settings: AuditSettings,
    cell: tuple[int, int],
) -> list[Epoch]:
    """Audit ``settings.epoch_images`` mixes with each network that the ``runs`` saved.

    Args:
        runs: run folders by seed.
        cell: object size in pixels and number of training digits.

    Returns:
        One entry per seed and saved epoch; empty if the method does not use the network.
    """
    mixer = create(mix.method, **mix.options)
    if not mixer.needs_model:
        return []
    data = load_prepared(prepared)
    split = data.split(settings.split)
    found: list[Epoch] = []
    for seed, folder in runs.items():
        run = load_run(folder)
        errors = {
            row.epoch: row.test_top1_error for row in run.history if row.test_top1_error is not None
        }
        for name in sorted(run.weights):
            if not name.startswith("epoch_"):
                continue
            records = mix_and_record(
                split,
                split.annotated(),
                data.meta,
                mixer,
                [run.model(name)],
                images=settings.epoch_images,
                batch_size=settings.batch_size,
                seed=settings.seed,
                size=run.settings.training.crop_size,
            )
            values = resampled(records, np.empty((0, int(records.batch.max()) + 1)))
            means = {name: float(value[0]) for name, value in values.items()}
            epoch = int(name.removeprefix("epoch_"))
            found.append(
                Epoch(
                    *cell,
                    method=mix.name,
                    seed=seed,
                    epoch=epoch,
                    top1_error=errors[epoch],
                    label_error=means["mean_absolute_error"],
                    no_object=means["no_object"],
                    map_on_object=means["map_on_object"],
                    peak_on_object=means["peak_on_object"],
                    object_area=means["object_area"],
                )
            )
    return found


def loop_figure(epochs: Mapping[StudyCell, Sequence[Epoch]]) -> Figure:
    """Draw test error, label error, empty regions and maps over epochs.

    One row per cell, one line per recipe and seed.
    """
    styles = method_styles(dict.fromkeys(row.method for rows in epochs.values() for row in rows))
    panels: dict[str, Callable[[Epoch], float]] = {
        "Top-1 test error (%)": lambda row: row.top1_error,
        "Label error, mean |λ − λ*|": lambda row: row.label_error,
        "Regions without an object (%)": lambda row: 100 * row.no_object,
        "Saliency on the object (%)": lambda row: 100 * row.map_on_object,
    }
    fig, grid = figure_grid(
        len(epochs), len(panels), 13.0, 0.6 + 2.6 * len(epochs), sharex=True, sharey="col"
    )
    for line, (cell, here) in zip(grid, epochs.items(), strict=True):
        for axes, (label, value) in zip(line, panels.items(), strict=True):
            for name, look in styles.items():
                seeds = sorted({row.seed for row in here if row.method == name})
                for seed in seeds:
                    curve = [row for row in here if (row.method, row.seed) == (name, seed)]
                    axes.plot(
                        [row.epoch for row in curve],
                        [value(row) for row in curve],
                        **look.line() | {"label": look.label if seed == seeds[0] else None},
                        marker=f"${seed}$",
                    )
            name = f"{cell.object_size} pixels in {cell.image_size}, {cell.train_digits} digits"
            title = name if axes is line[0] else ""
            finish_axes(axes, x="Epoch" if line is grid[-1] else "", y=label, title=title)
            axes.set_ylim(bottom=0)
        chance = 100 * float(np.mean([row.object_area for row in here]))
        line[-1].axhline(chance, color=REFERENCE, linestyle="--", linewidth=1)
    shared_legend(fig, [line[0] for line in grid])
    return fig
