"""Compare runs: errors over seeds, paired differences to a baseline, cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

from saliencymixplus.comparison.load import RunResult, load_results
from saliencymixplus.comparison.plots import error_bars, pareto
from saliencymixplus.comparison.published import published
from saliencymixplus.comparison.recipes import by_recipe, groups
from saliencymixplus.comparison.result import (
    WEIGHTS,
    Comparison,
    Errors,
    ResultRow,
    ResultTable,
    label_of,
)
from saliencymixplus.comparison.statistics import ErrorDifference, paired_bootstrap, summarise_seeds
from saliencymixplus.comparison.text import comparison_latex, comparison_markdown, csv_table
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, nearest
from saliencymixplus.files import write_json, write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.outputs import Output
from saliencymixplus.pictures.style import save_figure
from saliencymixplus.runs.read import find_runs

_MARK = '"baseline"'
OUTPUT = Output(
    marks={"comparison.json": _MARK},
    files=(*(f"comparison.{kind}" for kind in ("json", "md", "csv", "tex", "png")), "pareto.png"),
)
METRICS = Output(marks={"../comparison.json": _MARK}, files=("*.json",))


def compare(run_dirs: Sequence[Path], output: Path | None, *, baseline: str = "none") -> Comparison:
    """Compare finished, evaluated runs, and write the result to ``output`` unless that is None.

    Args:
        run_dirs: run folders, or folders that contain them.
        output: folder for comparison.md, .json, .csv and .tex, metrics/RECIPE.json,
            comparison.png and pareto.png.
        baseline: the recipe the others are compared with, by its name in params.yaml. A table
            without it uses its first recipe instead and says so.

    Raises:
        UserError: runs are missing, unfinished or not evaluated (up to five are named), the same
            run is given twice, or no run uses the baseline (unless it is ``none``).
    """
    results = load_results(find_runs(run_dirs))
    mixes = {result.mix for result in results}
    if baseline not in mixes and baseline != "none":
        raise UserError(f"no run has the baseline {baseline!r}: {nearest(baseline, mixes)}")
    comparison = Comparison([_table(group, baseline) for group in groups(results)])
    if output:
        _write(comparison, output)
    return comparison


def _write(comparison: Comparison, output: Path) -> None:
    write_json(output / "comparison.json", comparison.to_json())  # first: it marks the others
    write_text(output / "comparison.md", comparison_markdown(comparison))
    write_text(output / "comparison.csv", csv_table(comparison).csv())
    write_text(output / "comparison.tex", comparison_latex(comparison))
    with whole_directory(output / "metrics") as folder:
        for name, figures in comparison.metrics().items():
            write_json(folder / f"{name}.json", figures)
    save_figure(error_bars(comparison), output / "comparison.png")
    save_figure(pareto(comparison), output / "pareto.png")


def _table(group: Sequence[RunResult], baseline: str) -> ResultTable:
    methods = by_recipe(group, baseline)
    reference = next((name for name, runs in methods.items() if runs[0].mix == baseline), None)
    notes = []
    if reference is None:
        reference = next(iter(methods))
        if len(methods) > 1:
            label = label_of(reference, methods[reference][0].mix)
            notes.append(f"No run has the baseline {baseline!r}: differences are to {label}.")
    rows = []
    for name, runs in methods.items():
        others = [] if name == reference else methods[reference]
        rows.append(_row(name, runs, others))
        notes += _unpaired(rows[-1].label, runs, others) if others else []
    devices = sorted({result.run.device for result in group})
    if len(devices) > 1:
        notes.append(
            f"Trained on different devices ({', '.join(devices)}): do not compare seconds."
        )
    first = group[0]
    experiments = list(dict.fromkeys(result.settings.experiment for result in group))
    models = list(dict.fromkeys(result.settings.model.name for result in group))
    dataset, model, experiment = first.run.data.name, ", ".join(models), ", ".join(experiments)
    title = f"{dataset} · {model}"
    if experiments != [dataset]:
        title = f"{experiment}: {title}"
    return ResultTable(
        title=title,
        experiment=experiment,
        dataset=dataset,
        model=model,
        test_images=len(first.predictions.labels),
        classes=first.predictions.logits.shape[1],
        devices=devices,
        baseline=reference,
        rows=rows,
        ties=_ties(methods),
        notes=notes,
    )


def _row(name: str, runs: Sequence[RunResult], reference: Sequence[RunResult]) -> ResultRow:
    errors = {}
    for which in WEIGHTS:
        if not all(which in run.predictions.ranks for run in runs):
            continue
        top1 = [100 * float(run.predictions.wrong(which, 1).mean()) for run in runs]
        top5 = [100 * float(run.predictions.wrong(which, 5).mean()) for run in runs]
        difference = None
        if reference and all(which in run.predictions.ranks for run in reference):
            difference = _difference(runs, reference, which)
        errors[which] = Errors(summarise_seeds(top1), summarise_seeds(top5), difference, top1)
    medians = [m for run in runs if (m := median_of_last_ten(run.run.history)) is not None]
    keys = [key for key in runs[0].metrics if all(key in run.metrics for run in runs)]
    return ResultRow(
        name=name,
        mix=runs[0].mix,
        seeds=[run.seed for run in runs],
        errors=errors,
        seconds=summarise_seeds([run.run.summary.seconds for run in runs]),
        passes=summarise_seeds([run.run.summary.forward_backward_passes for run in runs]),
        metrics={key: summarise_seeds([run.metrics[key] for run in runs]) for key in keys},
        published=published(runs[0].settings),
        runs=[run.run.path.as_posix() for run in runs],
        median=summarise_seeds(medians) if len(medians) == len(runs) else None,
    )


def median_of_last_ten(history: Sequence[EpochRow]) -> float | None:
    """Median top-1 test error of the last ten epochs; None if there are fewer."""
    errors = [row.test_top1_error for row in history[-10:]]
    known = [error for error in errors if error is not None]
    return median(known) if len(known) == 10 else None


def _difference(
    runs: Sequence[RunResult], reference: Sequence[RunResult], which: str
) -> ErrorDifference:
    """Pair runs by seed or, if they have no seed in common, in seed order."""
    other = {run.seed: run for run in reference}
    common = [(run, other[run.seed]) for run in runs if run.seed in other]
    ours, theirs = zip(*(common or zip(runs, reference, strict=False)), strict=True)
    return paired_bootstrap(
        [run.predictions.wrong(which) for run in ours],
        [run.predictions.wrong(which) for run in theirs],
    )


def _unpaired(label: str, runs: Sequence[RunResult], reference: Sequence[RunResult]) -> list[str]:
    """A note if not all runs are paired by their seeds."""
    ours, theirs = ({run.seed for run in side} for side in (runs, reference))
    if not ours & theirs:
        return [f"{label}: no seed in common with the baseline; paired in order."]
    seeds = ", ".join(map(str, sorted(ours ^ theirs)))
    return [f"{label}: compared over the common seeds, without seed {seeds}."] if seeds else []


def _ties(methods: Mapping[str, Sequence[RunResult]]) -> list[str]:
    """The row with the lowest mean error of the last weights, and those not clearly worse."""
    if len(methods) < 2:
        return []
    means = {
        name: fmean(float(run.predictions.wrong().mean()) for run in runs)
        for name, runs in methods.items()
    }
    lowest, *others = sorted(means, key=means.__getitem__)
    best = methods[lowest]
    return [lowest] + [
        name for name in others if not _difference(methods[name], best, "last").significant
    ]
