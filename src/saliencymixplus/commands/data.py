"""``download``, ``prepare`` and ``resolve``."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError

Output = Annotated[Path | None, typer.Option(help="Default: a cache in .saliencymixplus/.")]


def download(
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    output: Output = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Fetch an experiment's archives and verify their checksums."""
    from saliencymixplus.datasets.cache import downloaded
    from saliencymixplus.datasets.download import download as fetch
    from saliencymixplus.datasets.manifest import check_download_folder

    section = options.load(params, set_).experiment(experiment)
    if output:
        check_download_folder(output)
        fetch(section.download, output)
    typer.echo(output or downloaded(section))


def prepare(
    context: typer.Context,
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    source: Annotated[
        Path | None, typer.Option(help="Folder written by `download`. Default: the cache.")
    ] = None,
    output: Output = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Decode an experiment's images to uint8 arrays and compute their saliency maps."""
    from saliencymixplus.datasets.cache import downloaded, prepared
    from saliencymixplus.datasets.prepare import prepare as decode
    from saliencymixplus.datasets.prepared import check_prepared_folder

    section = options.load(params, set_).experiment(experiment)
    if output is None:
        options.refuse(
            context, ("source",), "needs --output: the cache takes archives from its own folder"
        )
    else:
        check_prepared_folder(output)
        decode(section.data, source or downloaded(section), output)
    typer.echo(output or prepared(section, experiment))


def resolve(
    output: Annotated[Path, typer.Option(help="The output folder.")],
    of: Annotated[
        str | None, typer.Option(help="ablation or study: resolve that section's recipes instead.")
    ] = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Write the resolved settings of the pipeline's runs, for DVC to compare."""
    from saliencymixplus.training.resolve import write_resolved

    found = options.load(params, set_)
    top = found.top
    if of is None:
        write_resolved(found, top.experiments, top.methods, output)
        return
    sections = {"ablation": top.ablation, "study": top.study}
    if (section := sections.get(of)) is None:
        raise UserError(f"{params} has no section {of!r} that compares recipes (ablation, study)")
    write_resolved(found, [section.experiment], section.methods, output)
