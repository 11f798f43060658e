"""Read everything in a run folder, or return the line that rejects it."""

from pathlib import Path

from saliencymixplus.comparison.load import load_results
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.read import evaluation_folder, load_evaluation
from saliencymixplus.runs.folder import read_tracking
from saliencymixplus.runs.read import load_run


def read_everything(run_dir: Path) -> None:
    """All that any command reads of a run and its evaluation."""
    run = load_run(run_dir)
    assert run.model().training is False
    read_tracking(run_dir)
    evaluation = load_evaluation(evaluation_folder(run_dir))
    evaluation.tables()
    load_results([run_dir])


def refusal(run_dir: Path) -> str:
    """The line that says why the run cannot be read; empty if it can."""
    try:
        read_everything(run_dir)
    except UserError as error:
        return str(error)
    return ""
