"""``train``, and ``sync``, which sends missing records to MLflow."""

from pathlib import Path
from typing import Annotated, Any

import typer

from saliencymixplus.commands import completion, options


def _recipe(text: str, metavar: str | None = None) -> Any:
    """A recipe option; None: the value in params.yaml."""
    return typer.Option(help=text, metavar=metavar, rich_help_panel=options.RECIPE)


def train(
    mix_aug: Annotated[
        str,
        options.mix_option(
            f"{', '.join(completion.method_names())} or a recipe under `mix:` in params.yaml."
        ),
    ] = "saliencymixplus",
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="The run's folder. Default: a new one below outputs/."),
    ] = None,
    prepared: options.Prepared = None,
    model: Annotated[
        str | None, _recipe("A network; `models` lists them. timm/NAME: one from timm.", "NAME")
    ] = None,
    epochs: Annotated[int | None, _recipe("Passes over the training images.")] = None,
    batch_size: Annotated[int | None, _recipe("Images per batch, over all processes.")] = None,
    learning_rate: Annotated[float | None, _recipe("Peak learning rate.")] = None,
    mix_prob: Annotated[float | None, _recipe("Fraction of batches to mix.")] = None,
    mix_start: Annotated[
        int | None,
        _recipe("Epochs without mixing at the start."),
    ] = None,
    weight_decay: Annotated[float | None, _recipe("Weight decay.")] = None,
    schedule: Annotated[str | None, _recipe("steps, cosine or one_cycle.", "NAME")] = None,
    augment: Annotated[
        str | None, _recipe("none, flip, crop, crop-flip or resized-crop-flip.", "NAME")
    ] = None,
    precision: Annotated[str | None, _recipe("auto, fp32 or bf16.", "NAME")] = None,
    device: options.Device = "auto",
    tracker: Annotated[str, options.how("mlflow or none.", metavar="NAME")] = "mlflow",
    resume: Annotated[
        bool,
        options.how("Resume an unfinished run with the same settings.", "--resume/--no-resume"),
    ] = True,
    progress: Annotated[str, options.how("auto, bar, lines or none.", metavar="KIND")] = "auto",
    engine: Annotated[
        str, options.how("auto, eager or graph (on CUDA: capture the whole step).", metavar="NAME")
    ] = "auto",
    compile_: Annotated[bool, options.how("torch.compile the step.", "--compile")] = False,
    deterministic: Annotated[
        bool, options.how("Bit-identical results on CUDA, too; slower.", "--deterministic")
    ] = False,
    data_on: Annotated[
        str, options.how("Where images are held: auto, device, shard or host.", metavar="WHERE")
    ] = "auto",
    workers: Annotated[int, options.how("Loader processes for images on the host.")] = 2,
    dry_run: Annotated[
        bool, options.how("Check everything, print what would be trained, and stop.", "--dry-run")
    ] = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    r"""Train one model with one mixing method.

    The published experiment:

    ```
    python cli.py train --dataset cifar100 --model resnet50 --epochs 200 \
        --batch_size 128 --mix_prob=0.5 --learning_rate 0.1 \
        --mix_aug saliencymixplus
    ```
    """
    given = {
        "model.name": model,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.learning_rate": learning_rate,
        "training.mix_prob": mix_prob,
        "training.mix_start": mix_start,
        "training.weight_decay": weight_decay,
        "training.schedule": schedule,
        "training.augment": augment,
        "training.precision": precision,
    }
    run = options.load(params, set_, experiment, **given).run(experiment, mix_aug, seed)
    runtime = options.runtime(
        device=device,
        tracker=tracker,
        resume=resume,
        progress=progress,
        engine=engine,
        compile=compile_,
        deterministic=deterministic,
        data_on=data_on,
        workers=workers,
    )

    if dry_run:
        from saliencymixplus.training.plan import plan

        for heading, text in plan(run, runtime, prepared=prepared, output=output).items():
            typer.echo(f"{heading + ':':<10}{text}")
        return

    from saliencymixplus.training.launch import launch

    folder, summary = launch(run, runtime, prepared=prepared, output=output)
    if summary:  # empty on ranks other than 0
        typer.echo(f"run: {folder}")


def sync() -> None:
    """Send missing records to MLflow, and end the runs of killed trainings."""
    from saliencymixplus.tracking.sync import sync as send

    send()
