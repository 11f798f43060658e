"""The sections of a report; a sentence replaces whatever is missing."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from saliencymixplus import escape
from saliencymixplus.audit import text as audit_text
from saliencymixplus.audit.findings import Findings
from saliencymixplus.bench.times import StepTimes
from saliencymixplus.comparison import text as comparison_text
from saliencymixplus.comparison.plots import error_bars, pareto
from saliencymixplus.comparison.result import Comparison
from saliencymixplus.comparison.verdict import verdict
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting import curves
from saliencymixplus.reporting.document import Block, Fold
from saliencymixplus.reporting.figures import Figures
from saliencymixplus.reporting.run_data import ReportedRun, Runs, errors_by, metric
from saliencymixplus.tables import MEAN_SD, Column, Table, Value, mean_sd

_OVERVIEW = {
    "top1_error": "Top-1 error (%)",
    "mean_corruption_error": "Corruptions: mean error (%)",
    "occlusion_centre_error": "Centre occlusion: mean error (%)",
    "ece": "Calibration error (%)",
    "nll": "NLL",
}
_CALIBRATION = {
    "ece": "Calibration error (%)",
    "ece_scaled": "The same, temperature scaled (%)",
    "temperature": "Temperature",
    "nll": "NLL",
    "nll_scaled": "NLL, temperature scaled",
}
_LOCALISATION = {
    "localisation_energy": "Energy inside the object (%)",
    "localisation_pointing": "Peak on the object (%)",
    "localisation_iou": "IoU (%)",
    "localisation_mask_share": "Object's fraction of the image (%)",
}
_BAND = " Lines are means over seeds, bands one standard deviation."


def in_short(
    runs: Runs, compared: Comparison | None, audited: Findings | str | None, missing: Sequence[Path]
) -> list[Block]:
    """The verdicts, a table of the main metrics, and the runs that are missing."""
    lines = []
    tables = compared.tables if compared else []
    for table in tables:
        if text := verdict(table):
            lines.append(f"{table.title}: {text}" if len(tables) > 1 else text)
    if isinstance(audited, Findings):
        lines.append(f"Labels: {audit_text.audit_verdict(audited)}")
    blocks: list[Block] = ["## In short"]
    if lines:
        blocks.append("\n".join(f"- {escape.markdown(line)}" for line in lines))
    if overview := metrics_table(runs, _OVERVIEW):
        blocks += [overview, "Last epoch, mean ± standard deviation over seeds."]
    if missing:
        names = ", ".join(escape.markdown("/".join(folder.parts[-2:])) for folder in missing)
        blocks.append(f"Not trained yet, and therefore not in this report: {names}.")
    return blocks


def comparison_section(
    compared: Comparison | None, figures: Figures, runs: Runs, times: StepTimes | None = None
) -> list[Block]:
    """Error bars, Pareto plot and the comparison's tables; ``times``: of a benchmark."""
    if compared is None:
        return ["## Comparison", "The runs have not been compared (`python cli.py compare`)."]
    caption = "Error against the cost of training; a dashed line is the Pareto front."
    step_ms = None
    if times and all(times.of(run.run.settings) for seeds in runs.values() for run in seeds):
        step_ms = times.milliseconds
        caption += f" The step times were benchmarked on {times.hardware}."
    elif times:
        caption += (
            " bench.json was measured with another network, batch or image size and is not shown."
        )
    blocks: list[Block] = [
        "## Comparison",
        figures.plot(error_bars(compared), "comparison", "Top-1 error with 95 % intervals."),
        figures.plot(pareto(compared, step_ms), "pareto", caption),
    ]
    for table in compared.tables:
        if len(compared.tables) > 1:
            blocks.append(f"### {escape.markdown(table.title)}")
        blocks.append(escape.markdown(comparison_text.scope(table)))
        blocks += comparison_text.tables(table)
        notes = comparison_text.notes(table)
        blocks.append("\n".join(f"- {escape.markdown(note)}" for note in notes))
    return [block for block in [*blocks, comparison_text.LEGEND] if block]


def learning_section(runs: Runs, figures: Figures) -> list[Block]:
    """Errors and loss over the epochs."""
    caption = f"Errors after each epoch.{_band(runs)}"
    chart: Sequence[Block] = figures.chart(curves.learning(runs), "learning", caption)
    return ["## Learning curves", *(chart or ["No run has a history."])]


def robustness_section(runs: Runs, figures: Figures) -> list[Block]:
    """Corruptions, occlusion and attacks."""
    caption = f"Common corruptions (the families of Hendrycks and Dietterich 2019).{_band(runs)}"
    blocks: list[Block] = [
        *figures.chart(curves.severity(runs), "corruptions", caption),
        *_corruptions(runs),
        *figures.chart(curves.occlusion(runs), "occlusion", "Error as pixels are removed."),
        *figures.chart(
            curves.attacks(runs),
            "attacks",
            "Error under adversarial perturbations of at most ε in the maximum norm.",
        ),
    ]
    missing = "No evaluation has measured corruptions, occlusion or attacks."
    return ["## Robustness", *(blocks or [missing])]


def calibration_section(runs: Runs, figures: Figures) -> list[Block]:
    """Reliability diagram and calibration errors."""
    caption = (
        "Reliability: below the diagonal a network is more confident than it is accurate. Bands "
        "are standard errors."
    )
    chart = figures.chart(curves.reliability(runs), "reliability", caption)
    if not chart:
        return ["## Calibration", "No evaluation has measured calibration."]
    table = metrics_table(runs, _CALIBRATION)
    return ["## Calibration", *chart, *([table] if table else [])]


def localisation_section(runs: Runs) -> list[Block]:
    """Class-activation maps against object masks."""
    table = metrics_table(runs, _LOCALISATION, scale=100)
    if table is None:
        return ["## Localisation", "Localisation was not measured (it needs object masks)."]
    return [
        "## Localisation",
        table,
        "Class-activation maps of the true class against the masks of the test images. An "
        "uninformative map scores the object's fraction of the image.",
    ]


def audit_section(
    audited: Findings | str | None, folder: Path | None, figures: Figures
) -> list[Block]:
    """The label-noise audit with its plots and worst labels."""
    title = "## Label-noise audit"
    if audited is None or folder is None:
        return [
            title,
            "The labels have not been audited (`python cli.py audit`; it needs object masks).",
        ]
    if isinstance(audited, str):
        return [title, f"The labels were not audited: {escape.markdown(audited)}."]
    found = audit_text.report_blocks(audited)
    tables = next(i for i, block in enumerate(found) if _is_heading(block))
    plots = {
        "errors": "Label errors with 95 % intervals.",
        "scatter": "Assigned λ against the true λ*.",
        "along_training": "Label error, empty regions and saliency on the object by epoch.",
    }
    worst = [
        picture
        for path in sorted(folder.glob("worst_*.png"))
        for picture in figures.copy(
            path,
            f"audit_{path.name}",
            f"{method_label(path.stem.removeprefix('worst_'))}: the labels furthest from the "
            "truth; objects outlined.",
        )
    ]
    blocks: list[Block] = [title, *found[:tables]]
    for name, caption in plots.items():
        blocks += figures.copy(folder / f"{name}.png", f"audit_{name}.png", caption)
    blocks += map(_lowered, found[tables:])
    return [*blocks, "### Worst labels", *worst] if worst else blocks


def samples_section(runs: Runs, figures: Figures) -> list[Block]:
    """The last grid of mixed samples of each mixing recipe's first seed."""
    pictures: list[Block] = []
    for mix, (first, *_) in runs.items():
        for grid in first.samples[-1:] if first.run.settings.mix.method != "none" else ():
            epoch = re.sub(r"\D+0*(?=\d)", "", grid.stem)
            caption = f"{method_label(mix)}, epoch {epoch}."
            pictures += figures.copy(grid, f"samples_{mix}.png", caption)
    return ["## Mixed samples", *(pictures or ["The runs kept no grids of mixed samples."])]


def metrics_table(runs: Runs, columns: Mapping[str, str], scale: float = 1) -> Table | None:
    """Means ± s.d. over seeds of the evaluations' metrics; None if no run has any of them."""
    known = [key for key in columns if any(metric(seeds, key) for seeds in runs.values())]
    if not known:
        return None
    rows: list[list[Value]] = [
        [method_label(mix), *(_metric_cell(seeds, key, scale) for key in known)]
        for mix, seeds in runs.items()
    ]
    head = [Column("Method", "left"), *(Column(columns[key], parts=MEAN_SD) for key in known)]
    return Table(head, rows)


def _metric_cell(seeds: Sequence[ReportedRun], key: str, scale: float) -> Value:
    found = metric(seeds, key)
    if found is None:
        return None
    mean, deviation = found
    return mean_sd(mean * scale, None if deviation is None else deviation * scale)


def _corruptions(runs: Runs) -> list[Block]:
    title = "Top-1 error (%) by corruption, mean of all severities"
    table = errors_by(runs, "corruptions", "corruption", title)
    return [Fold("Errors by corruption", [table])] if table.rows else []


def _lowered(block: Block) -> Block:
    """A heading one level lower; anything else as it is."""
    return f"#{block}" if isinstance(block, str) and _is_heading(block) else block


def _is_heading(block: Block) -> bool:
    return isinstance(block, str) and block.startswith("#")


def _band(runs: Runs) -> str:
    return _BAND if any(len(seeds) > 1 for seeds in runs.values()) else ""
