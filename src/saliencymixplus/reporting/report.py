"""The report of an experiment: report.md with figures, report.html in one file, model cards."""

from collections.abc import Sequence
from pathlib import Path

from saliencymixplus import escape
from saliencymixplus.audit.findings import load_findings
from saliencymixplus.bench.times import read_step_times
from saliencymixplus.comparison.result import load_comparison
from saliencymixplus.errors import UserError, first_few
from saliencymixplus.files import write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.outputs import Output
from saliencymixplus.reporting import sections
from saliencymixplus.reporting.cards import best_run, model_card
from saliencymixplus.reporting.classes import classes_section
from saliencymixplus.reporting.document import Block, to_markdown
from saliencymixplus.reporting.figures import FIGURES, Figures
from saliencymixplus.reporting.page import html_page
from saliencymixplus.reporting.pipeline_plots import PICTURES, write_pipeline_plots
from saliencymixplus.reporting.playground import playground_section
from saliencymixplus.reporting.provenance import provenance, what_was_run
from saliencymixplus.reporting.run_data import collect_runs

CARDS = "model_cards"
BENCH = "bench.json"
_TITLE = "Image mixing on"
OUTPUT = Output(
    marks={"report.md": f"# {_TITLE} "},
    files=("report.md", "report.html", "learning_curves.csv", "confusion.csv"),
)
FOLDERS = {
    folder: Output({f"../{name}": text for name, text in OUTPUT.marks.items()}, files)
    for folder, files in (
        (FIGURES, ("*.png", "*.svg")),
        (CARDS, ("*.md",)),
        (PICTURES, ("*.png",)),
    )
}


def report(
    folders: Sequence[Path],
    output: Path,
    *,
    audit: Path | None = None,
    prepared: Path | None = None,
) -> Path:
    """Write report.html, report.md, figures/, model_cards/ and DVC's plots into ``output``.

    A sentence replaces each part for which there is nothing to report.

    Args:
        folders: runs of one experiment; the report names those that do not exist yet.
        output: a comparison in it (``compare``) and bench.json (``bench --output``) are used.
        audit: folder written by ``audit``.
        prepared: folder written by ``prepare``, whose images the playground mixes.

    Returns:
        The path of report.html.

    Raises:
        UserError: none of the runs exists, or a file cannot be read.
    """
    runs = collect_runs(folders)
    if not runs:
        raise UserError(
            f"nothing to report: {first_few(list(map(str, folders)))} do not exist yet: "
            "`dvc repro` trains them (`compare FOLDER` compares runs in other folders)"
        )
    experiment = next(iter(runs.values()))[0].run.settings.experiment
    title = f"{_TITLE} {experiment}"
    missing = [folder for folder in folders if not (folder / "settings.json").is_file()]
    table = output / "comparison.json"
    compared = load_comparison(table) if table.is_file() else None
    times = read_step_times(output / BENCH) if (output / BENCH).is_file() else None
    audited = load_findings(audit) if audit and (audit / "audit.json").is_file() else None
    with whole_directory(output / FIGURES) as folder:
        figures = Figures(folder)
        blocks: list[Block] = [
            f"# {escape.markdown(title)}",
            *sections.in_short(runs, compared, audited, missing),
            *what_was_run(runs),
            *playground_section(runs, prepared),
            *sections.comparison_section(compared, figures, runs, times),
            *sections.learning_section(runs, figures),
            *classes_section(runs, figures),
            *sections.robustness_section(runs, figures),
            *sections.calibration_section(runs, figures),
            *sections.localisation_section(runs),
            *sections.audit_section(audited, audit, figures),
            *sections.samples_section(runs, figures),
            *provenance(runs, experiment, output),
        ]
        write_text(output / "report.md", to_markdown(blocks))  # first: it marks the others
    with whole_directory(output / CARDS) as cards:
        for mix, seeds in runs.items():
            write_text(cards / f"{mix}.md", model_card(best_run(seeds), seeds))
    write_pipeline_plots(runs, output)
    write_text(output / "report.html", html_page(blocks, output, title))
    return output / "report.html"
