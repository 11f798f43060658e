"""``evaluate``, ``audit``, ``compare`` and ``report``: what is done with trained runs."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands.app import app
from saliencymixplus.commands.options import (
    DEFAULT_PARAMS,
    Device,
    Experiment,
    Overrides,
    ParamsFile,
    load,
    runtime,
)
from saliencymixplus.files import check_folder

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN",
        help="Run folders, or folders that hold some. Default: the pipeline's runs of EXPERIMENT.",
        show_default=False,
    ),
]
Prepared = Annotated[
    Path | None, typer.Option(help="What `prepare` wrote. Default: found, or made.")
]

Tracker = Annotated[str, typer.Option(metavar="NAME", help="mlflow or none.")]
HEADLINES = ("top1_error", "top5_error", "nll", "ece", "mean_corruption_error")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    output: Annotated[Path | None, typer.Option(help="Default: RUN/evaluation.")] = None,
    prepared: Prepared = None,
    device: Device = "auto",
    tracker: Tracker = "mlflow",
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Measure a trained run: accuracy, calibration, robustness, localisation."""
    settings = load(params, set_).top.evaluation
    how = runtime(device=device, tracker=tracker)

    from saliencymixplus.datasets.cache import prepared as find_prepared
    from saliencymixplus.evaluation.evaluate import evaluate as measure
    from saliencymixplus.runs.read import load_run

    trained = load_run(run)
    folder = output or run / "evaluation"
    check_folder(folder, "evaluation.json")
    data = prepared or find_prepared(trained.settings, trained.settings.experiment)
    metrics = measure(run, data, folder, settings, how)
    for name in HEADLINES:
        if name in metrics:
            typer.echo(f"{name:<22}{metrics[name]:8.3f}")
    typer.echo(f"evaluation: {folder}")


@app.command()
def audit(
    runs: Runs = None,
    experiment: Experiment = "digits",
    mix_aug: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Repeatable. Default: `methods:` of params.yaml."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Default: audits/EXPERIMENT.")] = None,
    prepared: Prepared = None,
    device: Device = "auto",
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Compare mixed labels with the true share of visible object (data with masks)."""
    loaded = load(params, set_)
    section = loaded.experiment(experiment)
    mixes = [loaded.mix(name) for name in mix_aug or loaded.top.methods]

    from saliencymixplus.audit.audit import audit as measure
    from saliencymixplus.audit.text import summary_lines
    from saliencymixplus.datasets.cache import prepared as find_prepared
    from saliencymixplus.engine.device import choose_device
    from saliencymixplus.mixing import create
    from saliencymixplus.runs.read import load_run

    needing = [mix.name for mix in mixes if create(mix.method, **mix.options).needs_model]
    networks: dict[str, list[Path]] = {name: [] for name in needing}
    for folder in runs or loaded.run_folders(experiment, needing):
        networks.setdefault(load_run(folder).settings.mix.name, []).append(folder)
    target = output or Path("audits") / experiment
    check_folder(target, "audit.json")
    result = measure(
        prepared or find_prepared(section, experiment),
        mixes,
        networks,
        loaded.top.audit,
        target,
        device=choose_device(device),
    )
    for line in summary_lines(result):
        typer.echo(line)
    typer.echo(f"audit: {target}")


@app.command()
def compare(
    runs: Runs = None,
    experiment: Experiment = "digits",
    baseline: Annotated[
        str, typer.Option(metavar="NAME", help="What the others are compared with.")
    ] = "none",
    output: Annotated[Path | None, typer.Option(help="Default: reports/EXPERIMENT.")] = None,
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Compare evaluated runs over seeds: errors, intervals, paired differences, cost."""
    loaded = load(params, set_, experiment)
    folders = runs or loaded.run_folders(experiment, loaded.top.methods)

    from saliencymixplus.comparison.compare import compare as measure

    folder = output or Path("reports") / experiment
    check_folder(folder / "metrics", "../comparison.json")
    measure(folders, folder, baseline=baseline).print()
    typer.echo(f"comparison: {folder}")


@app.command()
def report(
    experiment: Experiment = "digits",
    output: Annotated[Path | None, typer.Option(help="Default: reports/EXPERIMENT.")] = None,
    tracker: Tracker = "mlflow",
    params: ParamsFile = DEFAULT_PARAMS,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Write one self-contained page about an experiment's runs, and model cards."""
    loaded = load(params, set_, experiment)
    folders = loaded.run_folders(experiment, loaded.top.methods)
    how = runtime(tracker=tracker)

    from saliencymixplus.reporting.report import CARDS, FIGURES
    from saliencymixplus.reporting.report import report as write
    from saliencymixplus.tracking import open_report

    folder = output or Path("reports") / experiment
    for name in (CARDS, FIGURES, "samples"):
        check_folder(folder / name, "../report.md", "../comparison.json")
    page = write(folders, folder, audit=Path("audits") / experiment)
    recorder = open_report(experiment, how.tracker)
    for path in (page, folder / "report.md", *sorted((folder / "figures").iterdir())):
        recorder.log_file(path, None)
    recorder.finish("FINISHED")
    if recorder.url_hint:
        typer.echo(f"MLflow: {recorder.url_hint}")
    typer.echo(f"report: {page}")
