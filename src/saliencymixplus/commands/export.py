"""``export``: write a trained network to a single file."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError

_PICTURES = 16


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="onnx, pt2 or torchscript.")
    ] = "onnx",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: NAME.onnx in the current folder.")
    ] = None,
    weights: options.Weights = "last",
    prepared: options.Prepared = None,
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Write a trained network, with its preprocessing, to one file.

    The file takes batches of 8-bit RGB images of any size and returns class probabilities. Before
    it is kept, it is compared with `predict` on 16 of the run's test images, at two sizes.
    """
    import numpy as np

    from saliencymixplus.datasets.prepared import load_prepared
    from saliencymixplus.inference.export import FORMATS, ExportedClassifier
    from saliencymixplus.inference.export import export as write
    from saliencymixplus.outputs import check_file
    from saliencymixplus.runs.read import load_run

    trained = load_run(run)
    if format_ not in FORMATS:
        raise UserError(f"--format: {format_!r} is not one of {', '.join(FORMATS)}")
    name = f"{trained.settings.experiment}-{trained.settings.mix.name}{FORMATS[format_].suffix}"
    file = output or Path(name)
    check_file(file, ExportedClassifier.__name__)  # every format holds the names of its modules
    with options.only_json(as_json) as show:
        folder = prepared or options.data_of(trained.settings, options.load(params, set_))
        images = load_prepared(folder).split("test").images[:_PICTURES]
        made = write(trained, weights, format_, file, np.array(images))
        show(made)
        typer.echo(f"input:      {made['input']}")
        typer.echo(f"output:     {made['output']}")
        typer.echo(
            f"difference: {made['largest_difference']:.1g} at most, on {made['compared_on']} images"
        )
        typer.echo(f"file:       {made['file']}")
