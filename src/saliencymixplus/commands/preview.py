"""``preview``: draw mixed samples without training."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.workspace import project_path

DEFAULT_PICTURE = Path("preview.png")


def preview(
    mix_aug: Annotated[
        list[str] | None,
        options.mix_option(
            "A mixing method or recipe, drawn with saliency maps. Repeatable: several give a "
            "gallery without maps. Default: the methods in params.yaml."
        ),
    ] = None,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    run: Annotated[
        Path | None, typer.Option(help="A trained run whose network computes the saliency.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, max=64, metavar="INT", help="Number of samples.")
    ] = 8,
    seed: options.Seed = 0,
    split: Annotated[str, typer.Option(metavar="NAME", help="train, val or test.")] = "train",
    outlines: Annotated[
        bool, typer.Option("--outlines", help="Outline the objects, if the data have masks.")
    ] = False,
    output: Annotated[Path, typer.Option(help="The picture to write.")] = DEFAULT_PICTURE,
    prepared: options.Prepared = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Draw mixed samples without training: sources, saliency, box, λ and area."""
    loaded = options.load(params, set_)
    section = loaded.experiment(experiment)
    mixes = options.recipes(loaded, mix_aug or loaded.top.methods)

    from saliencymixplus.datasets.cache import prepared as ensure_prepared
    from saliencymixplus.outputs import check_file
    from saliencymixplus.pictures.drawing import PICTURE_MARK
    from saliencymixplus.reporting.preview import preview as draw

    picture = project_path(output) if output == DEFAULT_PICTURE else output
    check_file(picture, PICTURE_MARK)
    drawn = draw(
        section,
        prepared or ensure_prepared(section, experiment),
        mixes,
        picture,
        run=run,
        count=count,
        seed=seed,
        split=split,
        outlines=outlines,
    )
    fewer = f" ({drawn.samples} samples: {drawn.fewer})" if drawn.fewer else ""
    typer.echo(f"preview: {picture}{fewer}")
