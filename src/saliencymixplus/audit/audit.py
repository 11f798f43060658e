"""The label-noise audit: several mixing recipes on one prepared data set, written to a folder."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from saliencymixplus.audit.figures import epochs_figure, errors_figure, scatter_figure
from saliencymixplus.audit.findings import COMPARED, AuditedData, Details, Estimates, Findings
from saliencymixplus.audit.measure import Worst, mix_and_record
from saliencymixplus.audit.records import Indices, Records, write_csv
from saliencymixplus.audit.statistics import (
    bootstrap_weights,
    differences,
    estimates,
    resampled,
)
from saliencymixplus.audit.text import markdown
from saliencymixplus.datasets.prepared import Prepared, Split, load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.files import write_json, write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.mixing import Mixer, create
from saliencymixplus.pictures.grid import draw_samples
from saliencymixplus.pictures.style import method_label, save_figure
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings

if TYPE_CHECKING:
    from saliencymixplus.runs.read import Run

NOTHING_WRONG = 0.005  # label errors below this are not drawn (mixup's labels are exact)


def audit(
    prepared: Path,
    mixes: Sequence[MixSettings],
    runs: Mapping[str, Sequence[Path]],
    settings: AuditSettings,
    output: Path,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Compare assigned λ with the visible fraction of each object for every recipe of ``mixes``.

    Args:
        prepared: folder written by ``prepare``.
        runs: run folders by recipe. Their last weights give the saliency of methods that need a
            network, several runs (seeds) in turn. Weights of single epochs that they kept are
            audited too. A recipe without runs uses the networks of all runs.
        output: folder for audit.json, audit.csv, audit.md and the figures.

    Returns:
        The content of audit.json: ``mixes``, ``differences`` and ``along_training``, numbers only.
        They are empty if the data have no masks or no method mixes; ``skipped`` says why.

    Raises:
        UserError: a run is missing or was trained on other data.
    """
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
            (first, second): {
                metric: gap
                for metric, gap in differences(samples[first], samples[second]).items()
                if metric in COMPARED
            }
            for first in samples
            for second in samples
            if first != second
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
    with whole_directory(output) as part:
        write_json(part / "audit.json", result)
        write_csv(part / "audit.csv", records, split.files)
        _draw(part, found, records, worst)
        write_json(part / "details.json", found.details.model_dump(mode="json"))
        write_text(part / "audit.md", markdown(found))
    return result


def _draw(
    folder: Path, found: Findings, records: Mapping[str, Records], worst: Mapping[str, Worst]
) -> None:
    """The audit's plots, and each recipe's worst labels as a grid of samples."""
    save_figure(scatter_figure(records, found.estimates), folder / "scatter.png")
    save_figure(errors_figure(found.estimates), folder / "errors.png")
    if found.along_training:
        figure = epochs_figure(found.along_training, found.estimates)
        save_figure(figure, folder / "along_training.png")
    for name, gallery in worst.items():
        if gallery.samples and gallery.samples[0][0] >= NOTHING_WRONG:
            title = f"{method_label(name)}: the labels furthest from the truth"
            picture = draw_samples([sample for _, sample in gallery.samples], title=title)
            Image.fromarray(picture).save(folder / f"worst_{name}.png")


def _nothing_to_audit(split: Split, rows: Indices, mixers: Mapping[str, Mixer]) -> str:
    """The reason why nothing can be audited; empty if something can."""
    if not mixers:
        return "none of the methods mixes images"
    if split.masks is None:
        return "the data have no object masks"
    if len(rows) < 2:
        return (
            f"{len(rows)} images of the {split.name} split have a mask with an object; "
            "the audit needs two"
        )
    return ""


def _write_skipped(output: Path, reason: str) -> dict[str, Any]:
    """Write an empty result, so that a pipeline on such data still reaches its report."""
    result = {"mixes": {}, "differences": {}, "along_training": {}, "skipped": reason}
    with whole_directory(output) as part:
        write_json(part / "audit.json", result)
        write_text(part / "audit.md", f"# Label-noise audit\n\nSkipped: {reason}.\n")
    return result


def _resampled(
    records: Mapping[str, Records], settings: AuditSettings
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics of every recipe, all with the same bootstrap draws."""
    count = max(int(found.batch.max()) for found in records.values()) + 1
    weights = bootstrap_weights(count, settings.resamples, settings.seed)
    return {name: resampled(found, weights) for name, found in records.items()}


def _runs_for(name: str, folders: Sequence[Path], data: Prepared) -> "list[Run]":
    from saliencymixplus.runs.read import load_run

    if not folders:
        raise UserError(
            f"auditing {name} needs the saliency of a trained network: train it first, "
            "or name a run"
        )
    found = [load_run(folder) for folder in folders]
    for folder, run in zip(folders, found, strict=True):
        if run.data.classes != data.meta.classes:
            raise UserError(f"{folder} was trained on other classes than {data.path} holds")
    return found


def _input_size(runs: "Sequence[Run]") -> int | None:
    """Side of the networks' input, at which every recipe is audited; None without networks."""
    sizes = {run.settings.training.crop_size for run in runs}
    if len(sizes) > 1:
        raise UserError(
            f"the runs were trained on images of several sizes: {sorted(map(str, sizes))}"
        )
    return sizes.pop() if sizes else None


def _saved_epochs(runs: "Sequence[Run]") -> list[int]:
    """Epochs of which every run kept the weights."""
    names = set.intersection(*({*run.weights} for run in runs))
    return sorted(int(name.removeprefix("epoch_")) for name in names if name.startswith("epoch_"))
