"""``train-all``: train all runs of an experiment's comparison."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options


def train_all(
    context: typer.Context,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    mix_aug: options.ComparedMixes = None,
    ablation: options.Ablation = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Runs go to OUTPUT/METHOD/seed0 and so on, where `evaluate-all` finds them. "
            "Default: new folders below outputs/."
        ),
    ] = None,
    live: Annotated[
        Path | None,
        typer.Option(help="A CSV file that grows with every epoch, for `dvc plots`."),
    ] = None,
    prepared: options.Prepared = None,
    jobs: Annotated[
        int | None,
        options.how(
            "Concurrent trainings. Default: as cores and memory allow; one on a GPU.", min=1
        ),
    ] = None,
    device: options.Device = "auto",
    tracker: options.Tracker = "mlflow",
    resume: Annotated[
        bool,
        options.how(
            "Keep finished runs and resume unfinished ones, if settings, data and code are the "
            "same.",
            "--resume/--no-resume",
        ),
    ] = True,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Train every method of an experiment with every seed, several at once."""
    loaded = options.load(params, set_)
    runs = options.compared_runs(context, loaded, experiment, mix_aug, ablation)
    runtime = options.runtime(device=device, tracker=tracker, resume=resume)

    from saliencymixplus.datasets.cache import prepared as ensure_prepared
    from saliencymixplus.datasets.prepared import load_prepared
    from saliencymixplus.training.launch import run_folder
    from saliencymixplus.training.many import Training
    from saliencymixplus.training.many import train_all as train

    data = prepared or ensure_prepared(runs[0], runs[0].experiment)
    digest = load_prepared(data).meta.digest
    trainings = [
        Training(
            run, output / run.mix.name / f"seed{run.seed}" if output else run_folder(run, digest)
        )
        for run in runs
    ]
    train(trainings, data, runtime, jobs, live)
    typer.echo(f"runs: {output or trainings[0].output.parent}")
