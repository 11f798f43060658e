"""``bench``: measure the cost of a training step."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options


def bench(
    context: typer.Context,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Default: EXPERIMENT's.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, metavar="INT", help="Default: EXPERIMENT's."),
    ] = None,
    mix_aug: Annotated[
        list[str] | None,
        options.mix_option(
            "A method, or a recipe under `mix:`. Repeatable. Default: every method."
        ),
    ] = None,
    device: options.Device = "auto",
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile the step.")] = False,
    rounds: Annotated[
        int,
        typer.Option(min=1, metavar="INT", help="Measurements per method, to take the median of."),
    ] = 20,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Compare only the mixing, with torchvision's, timm's and kornia's."
        ),
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the results as JSON.")] = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Measure the training step of every method on this machine, on random images."""
    if peers:
        ignored = ("experiment", "model", "batch_size", "mix_aug", "compile_")
        options.refuse(context, ignored, "is ignored with --peers: leave one out")
    given = {"model.name": model, "training.batch_size": batch_size}
    found = options.load(params, set_, experiment, **given)
    section = found.experiment(experiment)

    from rich.console import Console

    from saliencymixplus.bench.peers import bench_peers, peers_table
    from saliencymixplus.bench.settings import settings_for
    from saliencymixplus.bench.steps import bench as measure
    from saliencymixplus.bench.table import table
    from saliencymixplus.files import write_json
    from saliencymixplus.mixing import METHODS
    from saliencymixplus.outputs import check_file

    if output:
        check_file(output, '"hardware"')
    if peers:
        result = bench_peers(device=device, rounds=rounds)
        shown = peers_table(result)
    else:
        mixes = tuple(options.recipes(found, mix_aug or METHODS))
        settings = settings_for(
            section, device=device, compile=compile_, rounds=rounds, mixes=mixes
        )
        result = measure(settings)
        shown = table(result)
    Console(width=100).print(shown.rich())
    if output:
        write_json(output, result)
        typer.echo(f"results: {output}")
