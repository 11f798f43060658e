"""The report of an experiment: report.md and its figures, report.html in one piece, model cards."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from saliencymixplus.errors import UserError
from saliencymixplus.files import whole_directory, write_text
from saliencymixplus.pictures.style import save_figure
from saliencymixplus.reporting import curves
from saliencymixplus.reporting.cards import best_run, model_card
from saliencymixplus.reporting.page import html_page
from saliencymixplus.reporting.pipeline_plots import write_pipeline_plots
from saliencymixplus.reporting.run_data import Runs, collect
from saliencymixplus.reporting.sections import (
    Picture,
    audit_section,
    comparison_section,
    figures_section,
    in_short,
    localisation_section,
    provenance,
    samples_section,
)

FIGURES = "figures"
CARDS = "model_cards"


def report(
    folders: Sequence[Path],
    output: Path,
    *,
    audit: Path | None = None,
    comparison: Path | None = None,
) -> Path:
    """Write report.html, report.md, figures/, model_cards/ and DVC's plots into ``output``.

    Args:
        folders: runs of one experiment; those that are not there yet are named on the page.
        audit: folder that ``audit`` wrote. comparison: folder that ``compare`` wrote, default
            ``output``. What is missing is left out, with a sentence.

    Returns:
        The path of report.html.

    Raises:
        UserError: none of the runs is there, or a file cannot be read.
    """
    runs = collect(folders)
    if not runs:
        raise UserError("nothing to report: none of the runs is there, train first")
    first = next(iter(runs.values()))[0].described
    experiment = str(first["settings"]["experiment"])
    title = f"Image mixing on {experiment}"
    missing = [folder for folder in folders if not (folder / "settings.json").is_file()]
    compared = comparison if comparison is not None else output
    with whole_directory(output / FIGURES) as figures:
        drawn = Drawn(figures)
        text = "\n\n".join(
            part
            for part in (
                f"# {title}",
                in_short(runs, compared, audit, missing),
                comparison_section(compared, drawn.copy),
                *_measured(runs, drawn),
                audit_section(audit, drawn.copy),
                samples_section(runs, drawn.copy),
                provenance(runs, experiment),
            )
            if part
        )
    text = text.rstrip() + "\n"
    with whole_directory(output / CARDS) as cards:
        for mix, seeds in runs.items():
            write_text(cards / f"{mix}.md", model_card(best_run(seeds), seeds))
    write_pipeline_plots(runs, output)
    write_text(output / "report.md", text)
    write_text(output / "report.html", html_page(text, output, title))
    return output / "report.html"


class Drawn:
    """The figures folder: takes figures and copies of pictures, gives their names in Markdown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, figure: Figure, name: str) -> Picture:
        """Write a figure."""
        save_figure(figure, self.folder / name)
        return f"{FIGURES}/{name}"

    def copy(self, source: Path, name: str) -> Picture | None:
        """Copy a picture, if it is there."""
        if not source.is_file():
            return None
        (self.folder / name).write_bytes(source.read_bytes())
        return f"{FIGURES}/{name}"


def _measured(runs: Runs, drawn: Drawn) -> list[str]:
    """The sections whose figures are drawn from the runs' own tables."""
    several = max(len(seeds) for seeds in runs.values()) > 1
    band = " Lines are means over seeds, bands one standard deviation." if several else ""

    def saved(figure: Figure | None, name: str) -> Picture | None:
        return None if figure is None else drawn.save(figure, name)

    return [
        figures_section(
            "Learning curves",
            [(saved(curves.learning_figure(runs), "learning.png"), f"Every epoch's errors.{band}")],
            "No run has a history.",
        ),
        figures_section(
            "Robustness",
            [
                (
                    saved(curves.severity_figure(runs), "corruptions.png"),
                    "Common corruptions (the families of Hendrycks and Dietterich 2019).",
                ),
                (
                    saved(curves.occlusion_figure(runs), "occlusion.png"),
                    "Error as pixels are removed.",
                ),
                (
                    saved(curves.attack_figure(runs), "attacks.png"),
                    "Error under adversarial perturbations within ε in the maximum norm.",
                ),
            ],
            "No evaluation has measured corruptions, occlusion or attacks.",
        ),
        figures_section(
            "Calibration",
            [
                (
                    saved(curves.reliability_figure(runs), "reliability.png"),
                    "Reliability: below the diagonal a network is surer than it is right.",
                )
            ],
            "No evaluation has measured calibration.",
        ),
        localisation_section(runs),
    ]
