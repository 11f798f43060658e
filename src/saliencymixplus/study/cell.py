"""One cell of the study: every recipe and seed at one object size and amount of data."""

import json
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

from saliencymixplus.audit.audit import audit
from saliencymixplus.errors import UserError
from saliencymixplus.files import write_csv
from saliencymixplus.outputs import Output
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.settings.params import Params
from saliencymixplus.settings.top import StudySettings
from saliencymixplus.study.loop import Epoch, follow
from saliencymixplus.training.many import Training, train_all

Entry = TypeVar("Entry", bound="Row | Epoch")

ROWS = "cell.csv"
LOOP = "loop.csv"
OUTPUT = Output(marks={ROWS: "object_size,", LOOP: "object_size,"}, files=(ROWS, LOOP))


@dataclass(frozen=True)
class Row:
    """One training of a cell, with the audit of its recipe."""

    object_size: int  # side of the object, pixels
    image_size: int  # side of the image, pixels
    train_digits: int
    method: str
    seed: int
    top1_error: float  # percent of the test images, after the last epoch
    seconds: float  # of training alone
    label_error: float | None  # mean |λ − λ*|; None if the recipe does not mix
    no_object: float | None  # fraction of the pasted regions that show no object


def study_overrides(study: StudySettings) -> list[str]:
    """Return ``study.settings`` as arguments of ``--set``."""
    return [
        f"{study.experiment}.{key}={json.dumps(value)}" for key, value in study.settings.items()
    ]


def cell_overrides(study: StudySettings, object_size: int, train_digits: int) -> list[str]:
    """Return the settings of one cell as arguments of ``--set``.

    ``study.images_seen`` fixes the number of steps: the less data, the more epochs.
    """
    clutter = f"{study.experiment}.data.clutter"
    changed = [f"{clutter}.object_size={object_size}", f"{clutter}.train_digits={train_digits}"]
    if study.images_seen is not None:
        epochs = max(1, round(study.images_seen / train_digits))
        changed.append(f"{study.experiment}.training.epochs={epochs}")
    return changed


def run_cell(params: Params, prepared: Path, output: Path, *, jobs: int | None) -> list[Row]:
    """Train every recipe with every seed, audit the recipes and write the results to ``output``.

    Args:
        params: settings that include the overrides of the study and of the cell.
        prepared: folder of the cell's images.
        output: folder for runs/, audit/, loop.csv and cell.csv. Finished runs in it of the same
            settings, data and code are kept; cell.csv is written last.
        jobs: concurrent trainings, each in its own process if there are several; None: as many as
            cores and memory allow, one on a GPU.

    Raises:
        UserError: the experiment is not on clutter with a number of digits, or ``train_all`` or
            ``audit`` fails.
        Interrupted: SIGINT or SIGTERM; the same call resumes from there.
    """
    study = params.top.study
    assert study is not None
    mixes = [params.mix(method) for method in study.methods]
    runs = [
        params.run(study.experiment, method, seed)
        for method in study.methods
        for seed in study.seeds
    ]
    clutter = runs[0].data.clutter
    if clutter is None or clutter.train_digits is None:
        raise UserError(f"study.experiment: {study.experiment} has no data.clutter.train_digits")
    for name in (ROWS, LOOP):
        (output / name).unlink(missing_ok=True)  # a cell is read only when it is complete
    folders: dict[str, dict[int, Path]] = {
        mix.name: {seed: output / "runs" / mix.name / f"seed{seed}" for seed in study.seeds}
        for mix in mixes
    }
    trainings = [Training(run, folders[run.mix.name][run.seed]) for run in runs]
    train_all(trainings, prepared, RuntimeSettings(tracker="none", progress="none"), jobs)
    summaries = [load_run(training.output).summary for training in trainings]
    networks = {name: list(by_seed.values()) for name, by_seed in folders.items()}
    audited = audit(prepared, mixes, networks, params.top.audit, output / "audit")["mixes"]
    cell = (clutter.object_size, clutter.train_digits)
    epochs = [
        epoch
        for mix in mixes
        for epoch in follow(prepared, mix, folders[mix.name], params.top.audit, cell)
    ]
    rows = [
        Row(
            object_size=clutter.object_size,
            image_size=run.data.image_size,
            train_digits=clutter.train_digits,
            method=run.mix.name,
            seed=run.seed,
            top1_error=summary.last.top1_error,
            seconds=summary.seconds,
            label_error=audited.get(run.mix.name, {}).get("mean_absolute_error"),
            no_object=audited.get(run.mix.name, {}).get("no_object"),
        )
        for run, summary in zip(runs, summaries, strict=True)
    ]
    write_rows(output / LOOP, epochs, Epoch)
    write_rows(output / ROWS, rows, Row)
    return rows


def write_rows(path: Path, rows: list[Entry], kind: type[Entry]) -> None:
    """Write ``rows``, all of the same ``kind``, as CSV with full precision."""
    write_csv(path, [field.name for field in fields(kind)], map(astuple, rows))
