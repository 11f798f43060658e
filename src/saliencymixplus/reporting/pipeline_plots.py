"""Files for ``dvc plots show``: learning curves, confusions and mixed samples of all recipes."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from saliencymixplus.files import write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.pictures.style import method_styles
from saliencymixplus.reporting.classes import confusion
from saliencymixplus.reporting.figures import FIGURES
from saliencymixplus.reporting.run_data import ReportedRun, Runs
from saliencymixplus.tables import Column, Table, Value

PICTURES = "pictures"


def write_pipeline_plots(runs: Runs, output: Path) -> None:
    """Write learning_curves.csv, confusion.csv and pictures/ beside the report's figures.

    The templates in ``.dvc/plots`` colour and facet by the tables' columns ``colour`` and
    ``method``. DVC's page loads its scripts from the network; the pictures need none.
    """
    lines: list[list[Value]] = []
    pairs: list[list[Value]] = []
    for mix, style in method_styles(runs).items():
        curve = enumerate(_mean_curve(runs[mix]), start=1)
        lines += [[style.label, style.colour, epoch, error] for epoch, error in curve]
        counts = sorted(confusion(runs[mix]).items())
        pairs += [[style.label, *pair, count] for pair, count in counts]
    _write(output / "learning_curves.csv", "method colour epoch test_top1_error", lines)
    _write(output / "confusion.csv", "method actual predicted images", pairs)
    figures = output / FIGURES
    with whole_directory(output / PICTURES) as folder:
        for pattern in ("learning.png", "confusion.png", "samples_*.png"):
            for picture in sorted(figures.glob(pattern)):
                shutil.copyfile(picture, folder / picture.name)


def _mean_curve(seeds: Sequence[ReportedRun]) -> list[float]:
    """Mean test error (%) over the seeds after each epoch that all of them have."""
    errors = [[row.test_top1_error or 0.0 for row in run.run.history] for run in seeds]
    return [round(fmean(after), 4) for after in zip(*errors, strict=False)]


def _write(path: Path, header: str, rows: Sequence[Sequence[Value]]) -> None:
    write_text(path, Table([Column(name) for name in header.split()], rows).csv())
