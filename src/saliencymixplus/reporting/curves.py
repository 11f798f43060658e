"""The charts of a report, as means over seeds: learning, corruptions, occlusion, attacks, bins."""

from collections.abc import Mapping, Sequence

import numpy as np

from saliencymixplus.reporting.charts import Chart, Panel, Points, Spread, upper_end
from saliencymixplus.reporting.run_data import ReportedRun, Runs, over_seeds, spread

FEWEST = 10  # bins of the reliability diagram with fewer images are not drawn
ERROR = "Top-1 error (%)"
_LEARNING = {
    "test_top1_error": ("Test error", ERROR),
    "validation_top1_error": ("Validation error", ERROR),
    "train_loss": ("Training loss", "Loss, mixed batches included"),
}


def learning(runs: Runs) -> Chart:
    """Test error, validation error and training loss over the epochs."""
    panels = []
    for column, (title, y) in _LEARNING.items():
        lines = {mix: _history(folders, column) for mix, folders in runs.items()}
        if any(lines.values()):
            # Errors near chance in the first epochs would flatten the rest of the curve.
            high = None if column == "train_loss" else _late_high(lines)
            panels.append(Panel(title, "Epoch", y, lines, marked=False, x_whole=True, y_high=high))
    return panels


def occlusion(runs: Runs) -> Chart:
    """Error over the fraction of pixels removed: a square in the centre, or random squares."""
    titles = {"centre": "Centre removed", "random": "Random squares removed"}
    x = "Fraction of pixels removed"
    return _by_kind(runs, "occlusion", ("kind", "share"), titles, x, percent=True)


def attacks(runs: Runs) -> Chart:
    """Error over the size ε of adversarial perturbations."""
    titles = {"fgsm": "FGSM", "pgd": "PGD"}
    return _by_kind(runs, "attacks", ("attack", "epsilon_255"), titles, "ε (of 255)")


def severity(runs: Runs) -> Chart:
    """Error over the severity of corruptions, mean over all kinds."""
    lines = {
        mix: _numeric(over_seeds(folders, "corruptions", ["severity"], "top1_error"))
        for mix, folders in runs.items()
    }
    if not any(lines.values()):
        return []
    return [Panel("All corruptions", "Severity", ERROR, lines, x_whole=True)]


def reliability(runs: Runs) -> Chart:
    """Accuracy over confidence, before and after temperature scaling.

    Bins are pooled over seeds; the deviation is the accuracy's standard error.
    """
    titles = {"none": "As trained", "temperature": "After temperature scaling"}
    panels: dict[str, dict[str, Points]] = {}
    for mix, folders in runs.items():
        for scaling, points in _pooled(folders).items():
            panels.setdefault(scaling, {})[mix] = points
    return [
        Panel(titles.get(scaling, scaling), "Confidence", "Accuracy", lines, unit_square=True)
        for scaling, lines in sorted(panels.items())
    ]


def _pooled(runs: Sequence[ReportedRun]) -> dict[str, Points]:
    """By scaling: confidence, accuracy and its standard error in every bin with enough images."""
    sums: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for line in run.tables.get("reliability", ()):
            if line.get("accuracy"):
                images = float(line["images"])
                found = sums.setdefault((line["scaling"], line["bin_low"]), [0.0, 0.0, 0.0])
                found[0] += images
                found[1] += images * float(line["confidence"])
                found[2] += images * float(line["accuracy"])
    result: dict[str, list[tuple[float, Spread]]] = {}
    for (scaling, _), (images, confidence, accuracy) in sums.items():
        if images >= FEWEST:
            right = accuracy / images
            error = float(np.sqrt(right * (1 - right) / images))
            result.setdefault(scaling, []).append((confidence / images, (right, error)))
    return {scaling: sorted(points) for scaling, points in result.items()}


def _by_kind(
    runs: Runs,
    table: str,
    keys: tuple[str, str],
    titles: Mapping[str, str],
    x: str,
    *,
    percent: bool = False,
) -> Chart:
    """A panel per value of the first key, over the second; all have the same y axis."""
    panels: dict[str, dict[str, Points]] = {}
    for mix, folders in runs.items():
        found = over_seeds(folders, table, keys, "top1_error")
        for kind in dict.fromkeys(key[0] for key in found):
            panels.setdefault(kind, {})[mix] = _numeric(
                {key[1:]: value for key, value in found.items() if key[0] == kind}
            )
    high = 1.05 * upper_end(line for lines in panels.values() for line in lines.values()) or None
    return [
        Panel(titles.get(kind, kind), x, ERROR, lines, x_percent=percent, y_high=high)
        for kind, lines in panels.items()
    ]


def _history(runs: Sequence[ReportedRun], column: str) -> Points:
    by_epoch: dict[float, list[float]] = {}
    for run in runs:
        for row in run.run.history:
            value = getattr(row, column)
            if value is not None and np.isfinite(value):
                by_epoch.setdefault(row.epoch, []).append(value)
    return [(epoch, spread(values)) for epoch, values in sorted(by_epoch.items())]


def _late_high(lines: Mapping[str, Points]) -> float | None:
    """The upper end of a y axis that fits all epochs but the first quarter."""
    return 1.15 * upper_end(points[len(points) // 4 :] for points in lines.values()) or None


def _numeric(found: Mapping[tuple[str, ...], Spread]) -> Points:
    return sorted((float(key[0]), value) for key, value in found.items())
