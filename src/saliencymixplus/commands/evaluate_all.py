"""``evaluate-all``: evaluate all runs of an experiment's comparison."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError
from saliencymixplus.workspace import project_path


def evaluate_all(
    context: typer.Context,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    mix_aug: options.ComparedMixes = None,
    ablation: options.Ablation = False,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Evaluate FOLDER/METHOD/seed0 and so on. Default: runs/EXPERIMENT.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Evaluations go to OUTPUT/METHOD/seed0 and so on. Default: as for `evaluate`.",
        ),
    ] = None,
    prepared: options.Prepared = None,
    jobs: Annotated[
        int | None,
        options.how(
            "Concurrent evaluations. Default: as cores and memory allow; one on a GPU.", min=1
        ),
    ] = None,
    device: options.Device = "auto",
    tracker: options.Tracker = "mlflow",
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Evaluate every method and seed of an experiment that has no current evaluation.

    An evaluation is current if it was written by this command from the same weights, data,
    settings and code.
    """
    loaded = options.load(params, set_)
    compared = options.compared_runs(context, loaded, experiment, mix_aug, ablation)
    experiment = compared[0].experiment
    runtime = options.runtime(device=device, tracker=tracker)

    from saliencymixplus.datasets.cache import prepared as ensure_prepared
    from saliencymixplus.datasets.prepared import load_prepared
    from saliencymixplus.evaluation.many import evaluate_all as measure
    from saliencymixplus.evaluation.read import default_output
    from saliencymixplus.runs.read import load_run
    from saliencymixplus.training.many import default_jobs

    source = runs or project_path("runs", experiment)
    outputs = {}
    for run in compared:
        name = Path(run.mix.name, f"seed{run.seed}")
        outputs[source / name] = output / name if output else default_output(source / name)
    for run_dir in outputs:  # before the data are prepared, which may take hours
        if not run_dir.exists():
            raise UserError(
                f"{run_dir} does not exist: train it first, with `train-all --output {source}` "
                "(or name another folder with --runs; `evaluate` takes runs of any layout)"
            )
        load_run(run_dir)
    data = prepared or ensure_prepared(compared[0], experiment)
    if jobs is None:  # an evaluation's batches cost about as much as a training's
        jobs = default_jobs(compared[0], load_prepared(data).meta, runtime)
    measure(outputs, data, loaded.top.evaluation, runtime, jobs)
    last = outputs[source / name]
    inside = last.is_relative_to(source)  # each evaluation is in its run's folder
    typer.echo(f"evaluations: {output or (source if inside else last.parents[1])}")
