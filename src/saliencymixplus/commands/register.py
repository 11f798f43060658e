"""``register``: add a version to MLflow's Model Registry, and promote it to champion."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError

if TYPE_CHECKING:
    from saliencymixplus.comparison.load import RunResult
    from saliencymixplus.comparison.statistics import ErrorDifference
    from saliencymixplus.tracking.registry import Registry, Version


def register(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of an evaluated run.")],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The registered model. Default: the run's experiment."),
    ] = None,
    weights: Annotated[str, typer.Option(metavar="NAME", help="last or best_validation.")] = "last",
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it the champion if it is not worse.")
    ] = False,
    margin: Annotated[
        float,
        typer.Option(
            min=0, max=100, metavar="POINTS", help="Difference that does not count as worse."
        ),
    ] = 1.0,
) -> None:
    """Register a run's model in MLflow, as the challenger.

    With --promote, it becomes the champion if it is not worse than the current one on the same test
    images: the 95 % interval of the difference of their top-1 errors (paired bootstrap over the
    test images) must end at or below the margin. The first version always becomes the champion.
    A model trained on other data is rejected. Serve the champion with `mlflow models serve`.
    """
    from saliencymixplus.comparison.load import load_result
    from saliencymixplus.tracking.mlflow_library import require_mlflow

    if not promote:
        options.refuse(context, ("margin",), "needs --promote")
    result = load_result(run)
    if weights not in result.predictions.ranks:
        raise UserError(f"{run} has no evaluation of the weights {weights!r}")
    require_mlflow()
    from saliencymixplus.tracking.registry import Registry, store_errors

    with store_errors():
        _register(Registry(name or result.settings.experiment), result, weights, promote, margin)


def _register(
    registry: "Registry", result: "RunResult", weights: str, promote: bool, margin: float
) -> None:
    champion = registry.champion()
    if champion and champion.data_digest != result.run.data.digest:
        raise UserError(
            f"the champion of {registry.name} (version {champion.number}) was trained on other "
            "data: their errors cannot be compared; choose another --name"
        )
    version = registry.register(result.run, weights)
    typer.echo(f"registered: {registry.name} version {version.number}")
    if not promote:
        return
    if champion and champion.number != version.number:
        found = _difference(registry, champion, result, weights)
        typer.echo(
            f"top-1 error minus that of version {champion.number}: {found.difference:+.2f} points "
            f"[{found.low:+.2f}, {found.high:+.2f}], {found.images:,} test images"
        )
        if found.high > margin:
            raise UserError(
                f"not promoted: it may be up to {found.high:.2f} points worse than the champion, "
                f"which is more than the margin of {margin:g}"
            )
    registry.promote(version)
    typer.echo(f"champion:   models:/{registry.name}@champion")


def _difference(
    registry: "Registry", champion: "Version", challenger: "RunResult", weights: str
) -> "ErrorDifference":
    """The paired difference of the errors of the challenger and the champion."""
    import numpy as np

    from saliencymixplus.comparison.statistics import paired_bootstrap
    from saliencymixplus.evaluation.predictions import load_predictions

    with TemporaryDirectory() as folder:
        theirs = load_predictions(registry.predictions(champion, Path(folder)))
    ours = challenger.predictions
    if champion.weights not in theirs.ranks or not np.array_equal(theirs.labels, ours.labels):
        raise UserError(
            f"the predictions of version {champion.number} are not for the same test images: "
            "evaluate both runs again"
        )
    return paired_bootstrap([ours.wrong(weights)], [theirs.wrong(champion.weights)])
