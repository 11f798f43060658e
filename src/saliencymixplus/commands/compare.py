"""``compare`` and ``report``: statistics and a report of an experiment's evaluated runs."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.outputs import check_files, check_folder
from saliencymixplus.workspace import project_path


def compare(
    context: typer.Context,
    runs: options.Runs = None,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    baseline: Annotated[
        str, typer.Option(metavar="NAME", help="The recipe to compare the others with.")
    ] = "none",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tables and figures. Default: reports/EXPERIMENT; with RUN and no "
            "--experiment they are only printed."
        ),
    ] = None,
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Compare evaluated runs over seeds: errors, intervals, paired differences, cost."""
    of_runs = bool(runs) and not options.given(context, "experiment")
    loaded = options.load(params, set_, "" if of_runs else experiment)
    folders = runs or loaded.run_folders(experiment, loaded.top.methods)

    from saliencymixplus.comparison.compare import METRICS, OUTPUT
    from saliencymixplus.comparison.compare import compare as measure
    from saliencymixplus.comparison.text import print_tables
    from saliencymixplus.mixing.registry import plain_name

    folder = None if of_runs else project_path("reports", experiment)
    folder = output or folder
    if folder:
        check_files(folder, OUTPUT)
        check_folder(folder / "metrics", METRICS)
    with options.only_json(as_json) as show:
        found = measure(folders, folder, baseline=plain_name(baseline))
        show(found.to_json())
        print_tables(found)
        if folder:
            typer.echo(f"comparison: {folder}")


def report(
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    output: Annotated[Path | None, typer.Option(help="Default: reports/EXPERIMENT.")] = None,
    prepared: Annotated[
        Path | None,
        typer.Option(help="Folder written by `prepare`. Default: the cached one, if any."),
    ] = None,
    tracker: options.Tracker = "mlflow",
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Write a report on an experiment's runs as a single HTML file, with model cards."""
    loaded = options.load(params, set_, experiment)
    folders = loaded.run_folders(experiment, loaded.top.methods)
    runtime = options.runtime(tracker=tracker)

    from saliencymixplus.datasets.cache import find_prepared
    from saliencymixplus.reporting.report import FOLDERS, OUTPUT
    from saliencymixplus.reporting.report import report as write
    from saliencymixplus.tracking import record_report

    folder = output or project_path("reports", experiment)
    check_files(folder, OUTPUT)
    for name, content in FOLDERS.items():
        check_folder(folder / name, content)
    page = write(
        folders,
        folder,
        audit=project_path("audits", experiment),
        prepared=prepared or find_prepared(loaded.experiment(experiment), experiment),
    )
    tables = sorted(folder.glob("comparison.*"))
    files = (page, folder / "report.md", *tables, *sorted((folder / "figures").iterdir()))
    if opened := record_report(experiment, files, runtime.tracker):
        typer.echo(f"MLflow: {opened}")
    typer.echo(f"report: {page}")
