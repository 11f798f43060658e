"""Run the label-noise audit: several mixing recipes on one prepared data set."""

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from saliencymixplus.audit.figures import epochs_figure, errors_figure, scatter_figure
from saliencymixplus.audit.findings import AuditedData, Details, Estimates, Findings
from saliencymixplus.audit.measure import Worst, mix_and_record
from saliencymixplus.audit.records import Indices, Records, write_records
from saliencymixplus.audit.statistics import (
    bootstrap_weights,
    differences,
    estimates,
    resampled,
)
from saliencymixplus.audit.text import audit_markdown
from saliencymixplus.datasets.prepared import Prepared, Split, load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.files import write_json, write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.mixing import Mixer, create
from saliencymixplus.outputs import Output
from saliencymixplus.pictures.grid import draw_samples
from saliencymixplus.pictures.style import method_label, save_figure
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings

if TYPE_CHECKING:
    from saliencymixplus.runs.read import Run

NEGLIGIBLE = 0.005  # no figure if the worst label error is below this (mixup's are zero)
OUTPUT = Output(
    marks={"audit.json": '"along_training"'},
    files=(
        *("audit.json", "audit.csv", "audit.md", "details.json"),
        *("scatter.png", "errors.png", "along_training.png", "worst_*.png"),
    ),
)


def audit(
    prepared: Path,
    mixes: Sequence[MixSettings],
    runs: Mapping[str, Sequence[Path]],
    settings: AuditSettings,
    output: Path,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Compare each recipe's λ with the visible fractions of the two objects.

    Args:
        prepared: folder written by ``prepare``.
        mixes: the recipes to audit; those that do not mix are skipped.
        runs: run folders by recipe. Methods that need a network take saliency from the runs' last
            weights, alternating between runs (seeds). If all of a recipe's runs kept weights of
            the same epochs, these are audited too. A recipe without runs uses those of all others.
        output: folder for audit.json, audit.csv, audit.md and the figures.

    Returns:
        The content of audit.json: ``mixes``, ``differences`` and ``along_training``, numbers only.
        All are empty if there is nothing to audit; ``skipped`` then gives the reason.

    Raises:
        UserError: a run is missing or was trained on other classes, input sizes differ, or another
            process is writing ``output``.
    """
    with whole_directory(output) as part:
        return _audit(prepared, mixes, runs, settings, part, torch.device(device))


def _audit(
    prepared: Path,
    mixes: Sequence[MixSettings],
    runs: Mapping[str, Sequence[Path]],
    settings: AuditSettings,
    output: Path,
    device: torch.device,
) -> dict[str, Any]:
    start = time.perf_counter()
    data = load_prepared(prepared)
    split = data.split(settings.split)
    rows = split.annotated()
    mixers = {mix.name: create(mix.method, **mix.options) for mix in mixes if mix.method != "none"}
    if reason := _nothing_to_audit(split, rows, mixers):
        return _write_skipped(output, reason)
    all_runs = [folder for folders in runs.values() for folder in folders]
    loaded = {
        name: _runs_for(name, runs.get(name) or all_runs, data)
        for name, mixer in mixers.items()
        if mixer.needs_model
    }
    size = _input_size([run for found in loaded.values() for run in found])

    def run_one(name: str, mixer: Mixer, which: str, images: int, worst: Worst | None) -> Records:
        models = [run.model(which).to(device) for run in loaded.get(name, ())]
        return mix_and_record(
            split,
            rows,
            data.meta,
            mixer,
            models,
            images=images,
            batch_size=settings.batch_size,
            seed=settings.seed,
            size=size,
            device=device,
            worst=worst,
        )

    worst = {name: Worst(settings.worst) for name in mixers}
    records = {
        name: run_one(name, mixer, "last", settings.images, worst[name])
        for name, mixer in mixers.items()
    }
    samples = _resampled(records, settings)
    epochs: dict[str, dict[int, Estimates]] = {}
    for name in loaded:
        for epoch in _saved_epochs(loaded[name]):
            taken = run_one(name, mixers[name], f"epoch_{epoch:04d}", settings.epoch_images, None)
            epochs.setdefault(name, {})[epoch] = estimates(
                _resampled({name: taken}, settings)[name]
            )
    found = Findings(
        {name: estimates(values) for name, values in samples.items()},
        {
            (first, second): differences(samples[first], samples[second])
            for second, first in combinations(samples, 2)
        },
        epochs,
        Details(
            data=AuditedData(name=data.meta.name, digest=data.meta.digest, split=split.name),
            annotated_images=len(rows),
            input_size=size or data.meta.image_size[0],
            settings=settings,
            recipes={mix.name: mix for mix in mixes if mix.name in mixers},
            runs={name: [run.digest for run in runs] for name, runs in loaded.items()},
            trained_with={
                name: sorted({run.settings.mix.name for run in runs})
                for name, runs in loaded.items()
            },
            device=str(device),
            torch=torch.__version__,
            seconds=round(time.perf_counter() - start, 1),
        ),
    )
    result = found.to_json({name: len(taken) for name, taken in records.items()})
    write_json(output / "audit.json", result)
    write_records(output / "audit.csv", records, split.files)
    _draw(output, found, records, worst)
    write_json(output / "details.json", found.details.model_dump(mode="json"))
    write_text(output / "audit.md", audit_markdown(found))
    return result


def _draw(
    folder: Path, found: Findings, records: Mapping[str, Records], worst: Mapping[str, Worst]
) -> None:
    """Draw the plots, and a grid of the worst-labelled samples of each recipe."""
    save_figure(scatter_figure(records, found.estimates), folder / "scatter.png")
    save_figure(errors_figure(found.estimates), folder / "errors.png")
    if found.along_training:
        figure = epochs_figure(found.along_training, found.estimates)
        save_figure(figure, folder / "along_training.png")
    for name, gallery in worst.items():
        if gallery.samples and gallery.samples[0][0] >= NEGLIGIBLE:
            title = f"{method_label(name)}: the labels furthest from the truth"
            picture = draw_samples([sample for _, sample in gallery.samples], title=title)
            Image.fromarray(picture).save(folder / f"worst_{name}.png")


def _nothing_to_audit(split: Split, rows: Indices, mixers: Mapping[str, Mixer]) -> str:
    """Why there is nothing to audit; empty if there is."""
    if not mixers:
        return "none of the recipes mixes images"
    if split.masks is None:
        return "the data have no object masks"
    if len(rows) < 2:
        return (
            f"{len(rows)} images of the {split.name} split have a mask with an object; "
            "the audit needs two"
        )
    return ""


def _write_skipped(output: Path, reason: str) -> dict[str, Any]:
    """Write an empty result, so that a pipeline on such data can still produce its report."""
    result = {"mixes": {}, "differences": {}, "along_training": {}, "skipped": reason}
    write_json(output / "audit.json", result)
    write_text(output / "audit.md", f"# Label-noise audit\n\nSkipped: {reason}.\n")
    return result


def _resampled(
    records: Mapping[str, Records], settings: AuditSettings
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics of every recipe, resampled with the same bootstrap draws."""
    count = max(int(found.batch.max()) for found in records.values()) + 1
    weights = bootstrap_weights(count, settings.resamples, settings.seed)
    return {name: resampled(found, weights) for name, found in records.items()}


def _runs_for(name: str, folders: Sequence[Path], data: Prepared) -> "list[Run]":
    from saliencymixplus.runs.read import load_run

    if not folders:
        raise UserError(
            f"auditing {name} needs the saliency of a trained network: train one first, "
            "or give a run"
        )
    found = [load_run(folder) for folder in folders]
    for folder, run in zip(folders, found, strict=True):
        if run.data.classes != data.meta.classes:
            raise UserError(f"{folder} was trained on classes other than those of {data.path}")
    return found


def _input_size(runs: "Sequence[Run]") -> int | None:
    """Input size of the networks, used to audit every recipe; None if there are no networks."""
    sizes = {run.settings.training.crop_size for run in runs}
    if len(sizes) > 1:
        raise UserError(
            f"the runs were trained with different crop sizes: {sorted(map(str, sizes))}"
        )
    return sizes.pop() if sizes else None


def _saved_epochs(runs: "Sequence[Run]") -> list[int]:
    """Epochs for which all runs kept weights."""
    names = set.intersection(*({*run.weights} for run in runs))
    return sorted(int(name.removeprefix("epoch_")) for name in names if name.startswith("epoch_"))
