"""What ``dvc plots show`` draws: learning curves, confusion and mixed samples of all recipes."""

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from saliencymixplus.files import write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting.classes import confusion
from saliencymixplus.reporting.run_data import ReportedRun, Runs


def write_pipeline_plots(runs: Runs, output: Path) -> None:
    """Write learning_curves.csv, confusion.csv and samples/ into ``output``.

    The tables have a column ``method``, by which the templates in ``.dvc/plots`` colour and facet.
    """
    curves, confusions = [], []
    for mix, seeds in runs.items():
        curves += [(method_label(mix), epoch, error) for epoch, error in _mean_curve(seeds)]
        pairs = confusion(seeds)
        confusions += [(method_label(mix), *pair, count) for pair, count in sorted(pairs.items())]
    _write(output / "learning_curves.csv", ("method", "epoch", "test_top1_error"), curves)
    _write(output / "confusion.csv", ("method", "actual", "predicted", "images"), confusions)
    with whole_directory(output / "samples") as folder:
        for mix, seeds in runs.items():
            if seeds[0].samples:
                shutil.copyfile(seeds[0].samples[-1], folder / f"{mix}.png")


def _mean_curve(seeds: Sequence[ReportedRun]) -> list[tuple[int, float]]:
    """Mean test error (%) over the seeds after each epoch that all of them have."""
    curves = [[float(row.test_top1_error or 0.0) for row in run.run.history] for run in seeds]
    means = (round(fmean(errors), 4) for errors in zip(*curves, strict=False))
    return list(enumerate(means, start=1))


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
