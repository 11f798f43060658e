"""``evaluate`` a run, and ``audit`` mixed labels."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError, first_few
from saliencymixplus.outputs import check_folder
from saliencymixplus.workspace import project_path

HEADLINES = {
    "top1_error": " %",
    "top5_error": " %",
    "nll": "",
    "ece": " %",
    "mean_corruption_error": " %",
}


def evaluate(
    context: typer.Context,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Run folders, or folders that contain runs; or give --mix-aug."
        ),
    ] = None,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    mix_aug: Annotated[
        str | None,
        options.mix_option("Evaluate the pipeline's runs of this method, every seed."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Default: RUN/evaluation; for the pipeline's runs, below outputs/evaluations/. "
            "With --mix-aug: OUTPUT/seed0 and so on. Not with several runs."
        ),
    ] = None,
    prepared: options.Prepared = None,
    device: options.Device = "auto",
    tracker: options.Tracker = "mlflow",
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Measure trained runs: accuracy, calibration, robustness, localisation."""
    loaded = options.load(params, set_)
    if bool(runs) == (mix_aug is not None):
        raise UserError("give either a RUN or, with --mix-aug, a method whose runs are evaluated")
    if runs:
        options.refuse(
            context, ("experiment",), "is ignored with a RUN, which names its own: leave it out"
        )
    runtime = options.runtime(device=device, tracker=tracker)

    from saliencymixplus.comparison.text import FEW_CLASSES
    from saliencymixplus.evaluation.evaluate import OUTPUT
    from saliencymixplus.evaluation.evaluate import evaluate as measure
    from saliencymixplus.evaluation.read import default_output
    from saliencymixplus.runs.read import find_runs, load_run

    if runs:
        folders = find_runs(runs)
    else:
        folders = loaded.run_folders(experiment, [loaded.mix(mix_aug or "").name])
    if runs and output and len(folders) > 1:
        raise UserError(f"--output takes the evaluation of one run, but there are {len(folders)}")
    found: dict[str, dict[str, float]] = {}
    with options.only_json(as_json) as show:
        for each in folders:
            run = load_run(each)
            folder = output or default_output(each)
            if output and not runs:
                folder = output / each.name
            check_folder(folder, OUTPUT)
            data = prepared or options.data_of(run.settings, loaded)
            metrics = measure(each, data, folder, loaded.top.evaluation, runtime)
            found[str(each)] = metrics
            few = len(run.data.classes) <= FEW_CLASSES
            for name, unit in HEADLINES.items():
                if name in metrics and not (few and name == "top5_error"):
                    typer.echo(f"{name:<22}{metrics[name]:8.3f}{unit}")
            typer.echo(f"evaluation: {folder}")
        show(metrics if runs and len(folders) == 1 else found)


def audit(
    context: typer.Context,
    runs: options.Runs = None,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    mix_aug: Annotated[
        list[str] | None,
        options.mix_option(
            "A mixing method, preset or recipe. Repeatable. Default: the runs' own; without RUN, "
            "methods: in params.yaml."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Default: audits/EXPERIMENT.")] = None,
    prepared: options.Prepared = None,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Compare mixed labels with the visible fraction of each object (needs object masks)."""
    loaded = options.load(params, set_)
    section = loaded.experiment(experiment)
    mixes = options.recipes(loaded, mix_aug or (() if runs else loaded.top.methods))

    from rich.console import Console

    from saliencymixplus.audit.audit import OUTPUT
    from saliencymixplus.audit.audit import audit as measure
    from saliencymixplus.audit.text import summary_table
    from saliencymixplus.datasets.cache import prepared as ensure_prepared
    from saliencymixplus.engine.device import choose_device
    from saliencymixplus.mixing import create
    from saliencymixplus.runs.read import find_runs, load_run

    needing = [mix.name for mix in mixes if create(mix.method, **mix.options).needs_model]
    networks: dict[str, list[Path]] = {name: [] for name in needing}
    folders = find_runs(runs) if runs else loaded.run_folders(experiment, needing)
    found = [load_run(folder) for folder in folders]
    for run in found:
        networks.setdefault(run.settings.mix.name, []).append(run.path)
    if not mix_aug and runs:
        mixes = list({run.settings.mix.name: run.settings.mix for run in found}.values())
    of_runs = bool(runs) and not options.given(context, "experiment")
    if of_runs:
        names = sorted({run.settings.experiment for run in found})
        if len(names) > 1:
            raise UserError(
                f"the runs belong to the experiments {first_few(names)}: audit one at a time"
            )
        (experiment,) = names
    target = output or project_path("audits", experiment)
    check_folder(target, OUTPUT)
    with options.only_json(as_json) as show:
        if prepared is None and of_runs:
            prepared = options.data_of(found[0].settings, loaded)
        result = measure(
            prepared or ensure_prepared(section, experiment),
            mixes,
            networks,
            loaded.top.audit,
            target,
            device=choose_device(device),
        )
        show(result)
        if "skipped" in result:
            typer.echo(f"nothing to audit: {result['skipped']}")
        else:
            Console(width=100).print(summary_table(result).rich())
        typer.echo(f"audit: {target}")
