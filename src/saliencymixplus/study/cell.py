"""One cell of the study: every recipe and seed at one object size and amount of data."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from saliencymixplus.audit.audit import audit
from saliencymixplus.errors import UserError
from saliencymixplus.files import write_csv
from saliencymixplus.folders import whole_directory
from saliencymixplus.outputs import Output
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.settings.params import Params
from saliencymixplus.settings.top import StudySettings
from saliencymixplus.study.loop import Epoch, follow
from saliencymixplus.training.trainer import train

Entry = TypeVar("Entry", bound="Row | Epoch")

ROWS = "cell.csv"
LOOP = "loop.csv"
OUTPUT = Output(marks={ROWS: "object_size,"}, files=(ROWS, LOOP, "runs/*", "audit/*"))


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


def run_cell(
    params: Params, prepared: Path, output: Path, *, jobs: int, say: Callable[[str], None]
) -> list[Row]:
    """Train every recipe with every seed, audit the recipes and write the results to ``output``.

    Args:
        params: settings that include the overrides of the study and of the cell.
        prepared: folder of the cell's images.
        output: new folder for runs/, audit/, cell.csv and loop.csv; written whole or not at all.
        jobs: concurrent trainings, each in a process of its own if there are several.
        say: receives one line per finished training.

    Raises:
        UserError: the experiment is not on clutter with a number of digits, or ``train`` or
            ``audit`` fails.
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
    with whole_directory(output) as part:
        folders: dict[str, dict[int, Path]] = {
            mix.name: {seed: part / "runs" / mix.name / f"seed{seed}" for seed in study.seeds}
            for mix in mixes
        }
        work = [(run, folders[run.mix.name][run.seed]) for run in runs]
        summaries = []
        for run, summary in zip(runs, _trained(work, prepared, jobs), strict=True):
            summaries.append(summary)
            say(f"{run.mix.name}, seed {run.seed}: {summary['last']['top1_error']:.2f} % error")
        networks = {name: list(by_seed.values()) for name, by_seed in folders.items()}
        audited = audit(prepared, mixes, networks, params.top.audit, part / "audit")["mixes"]
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
                top1_error=summary["last"]["top1_error"],
                seconds=summary["seconds"],
                label_error=audited.get(run.mix.name, {}).get("mean_absolute_error"),
                no_object=audited.get(run.mix.name, {}).get("no_object"),
            )
            for run, summary in zip(runs, summaries, strict=True)
        ]
        write_rows(part / ROWS, rows, Row)
        write_rows(part / LOOP, epochs, Epoch)
    return rows


def write_rows(path: Path, rows: list[Entry], kind: type[Entry]) -> None:
    """Write ``rows``, all of the same ``kind``, as CSV with full precision."""
    write_csv(path, [field.name for field in fields(kind)], map(astuple, rows))


def _trained(
    runs: list[tuple[RunSettings, Path]], prepared: Path, jobs: int
) -> Iterator[dict[str, Any]]:
    """Yield the summary of each run in the order of ``runs``, as it becomes available."""
    runtime = RuntimeSettings(tracker="none", progress="none")
    work = [partial(train, run, prepared, folder, runtime) for run, folder in runs]
    if jobs == 1:
        yield from (task() for task in work)
        return
    # Spawned, because torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(work)), context) as pool:
        yield from (future.result() for future in [pool.submit(task) for task in work])
