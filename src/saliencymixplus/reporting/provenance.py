"""What was run and where the numbers of a report come from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from saliencymixplus import escape
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting import recipe_text
from saliencymixplus.reporting.document import Block, Fold
from saliencymixplus.reporting.run_data import ReportedRun, Runs
from saliencymixplus.runs.read import Run
from saliencymixplus.settings import TrainingSettings
from saliencymixplus.tables import MISSING, Column, Getter, Table, Value, number


def what_was_run(runs: Runs) -> list[Block]:
    """The settings that all runs share, or every value that occurs."""
    reported = [run for seeds in runs.values() for run in seeds]
    found = [run.run for run in reported]
    mixing = [run for run in found if run.settings.mix.method != "none"]
    further = _each(found, _further)
    rows: list[list[Value]] = [
        ["Methods", ", ".join(map(method_label, runs))],
        ["Seeds", ", ".join(map(str, sorted({run.settings.seed for run in found})))],
        ["Data", _each(found, _data)],
        ["Network", _each(found, lambda run: run.settings.model.name)],
        ["Weights", _each(found, lambda run: recipe_text.start(run.settings.model))],
        ["Epochs", _each(found, lambda run: run.settings.training.epochs)],
        ["Batch size", _each(found, lambda run: run.settings.training.batch_size)],
        ["Learning rate", _each(found, _learning_rate)],
        ["Optimizer", _each(found, lambda run: recipe_text.optimizer(run.settings.training))],
        ["Other settings", further],
        ["Augmentation", _each(found, lambda run: augmentation(run.settings.training))],
        ["Mix probability", _each(mixing, lambda run: run.settings.training.mix_prob)],
        ["Hardware", _each(found, lambda run: run.device)],
        ["Versions", _each(found, _versions)],
        ["Commit", _each(found, _commit)],
        ["Date", _dates(reported)],
    ]
    if further == MISSING:
        rows = [row for row in rows if row[0] != "Other settings"]
    return ["## What was run", Table([Column("Setting", "left"), Column("Value", "left")], rows)]


def provenance(runs: Runs, experiment: str, output: Path) -> list[Block]:
    """The runs with their digests, links to their folders, and the commands to repeat it all."""
    columns: list[Getter[ReportedRun]] = [
        (Column("Method", "left"), lambda run: method_label(run.mix)),
        (Column("Seed", "left"), lambda run: str(run.seed)),
        (Column("Digest", "left"), lambda run: run.run.digest),
        (Column("Data", "left"), lambda run: run.run.data.digest[:12]),
        (Column("Device", "left"), lambda run: run.run.device),
        (
            Column("Attempt (MLflow tag)", "left"),
            lambda run: run.tracking.attempt if run.tracking else None,
        ),
        (Column("Seconds", format=lambda s: number(s, 1)), lambda run: run.run.summary.seconds),
    ]
    reported = [run for seeds in runs.values() for run in seeds]
    links = "\n".join(
        f"- {escape.markdown(method_label(mix))}: "
        + ", ".join(
            f"[seed {run.seed}](<{Path(os.path.relpath(run.run.path, output)).as_posix()}>)"
            for run in seeds
        )
        for mix, seeds in runs.items()
    )
    command = "\n".join(
        f"python cli.py {name} --experiment {experiment}" for name in ("compare", "audit", "report")
    )
    return [
        "## Where the numbers come from",
        f"The runs' folders:\n\n{links}",
        Fold("Digests, devices and times", [Table.of(reported, columns)]),
        f"To compute them again:\n\n```\n{command}\n```",
    ]


def augmentation(training: TrainingSettings) -> str:
    """What happens to images before mixing: ``crop-flip with reflected padding, randaugment …``."""
    parts: list[str] = [training.augment]
    if training.augment.startswith("crop") and training.crop_mode == "reflect":
        parts[0] += " with reflected padding"
    if training.auto_augment is not None:
        parts.append(training.auto_augment)
        if training.auto_augment == "randaugment":
            ops, magnitude = training.randaugment_ops, training.randaugment_magnitude
            parts[-1] += f" ({ops} operations, magnitude {magnitude})"
    if training.random_erasing:
        parts.append(f"random erasing {training.random_erasing:g} ({training.erasing_mode})")
    if training.repeated_augmentation > 1:
        parts.append(f"each image {training.repeated_augmentation} times per epoch")
    return ", ".join(parts)


def _each(runs: Iterable[Run], value: Callable[[Run], object]) -> str:
    """The values that occur, in the order of the runs; a dash if there is none."""
    found = dict.fromkeys(str(text) for run in runs if (text := value(run)) is not None)
    return "; ".join(found) or MISSING


def _learning_rate(run: Run) -> str:
    training = run.settings.training
    return f"{training.learning_rate:g}, {recipe_text.schedule(training)}"


def _further(run: Run) -> str | None:
    return "; ".join(recipe_text.further(run.settings.training)) or None


def _data(run: Run) -> str:
    data = run.data
    height, width = data.image_size
    counts = ", ".join(f"{count} {split}" for split, count in data.counts.items())
    return f"{data.name}: {len(data.classes)} classes, {height}×{width} pixels, {counts} images"


def _versions(run: Run) -> str | None:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items()) or None


def _commit(run: Run) -> str | None:
    if not run.git.commit:
        return None
    changed = " with uncommitted changes" if run.git.dirty == "true" else ""
    return f"{run.git.commit[:12]}{changed}"


def _dates(runs: Iterable[ReportedRun]) -> str:
    """The days (UTC) on which the first and the last recorded training began."""
    moments = sorted(run.tracking.created for run in runs if run.tracking)
    if not moments:
        return MISSING
    days = dict.fromkeys(str(np.datetime64(m, "ms").astype("datetime64[D]")) for m in moments)
    first, *rest = days
    return f"{first} to {rest[-1]}" if rest else first
