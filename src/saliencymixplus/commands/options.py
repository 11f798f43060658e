"""Options that several commands share, and how they become settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from saliencymixplus.settings import Params, RuntimeSettings

RECIPE = "Recipe (default: params.yaml)"
RUNTIME = "How to run"
DEFAULT_PARAMS = Path("params.yaml")

ParamsFile = Annotated[Path, typer.Option("--params", help="The settings file.", metavar="FILE")]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key of params.yaml: `--set mix.cutmix.alpha=0.2`. Repeatable.",
    ),
]
Experiment = Annotated[
    str,
    typer.Option(
        "--experiment",
        "--dataset",
        metavar="NAME",
        help="digits, cifar10, cifar100, oxford_pet or a section of your own in params.yaml.",
    ),
]


def _a_seed(value: int) -> int:
    if not 0 <= value < 2**32:
        raise typer.BadParameter(f"{value} is not in 0 to {2**32 - 1}")
    return value


# A range of typer's own would take half the width of the help.
Seed = Annotated[
    int, typer.Option(metavar="INT", callback=_a_seed, help="Of all random numbers, from 0 on.")
]
Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=RUNTIME),
]


def load(path: Path, overrides: list[str], experiment: str = "", **given: Any) -> "Params":
    """params.yaml with ``--set`` and the given recipe options of one experiment applied.

    ``given`` maps a key of the experiment's section (``training.epochs``) to a value, or to None
    where the option was not given.
    """
    from saliencymixplus.errors import UserError
    from saliencymixplus.settings import load_params
    from saliencymixplus.workspace import checkout_root

    if path == DEFAULT_PARAMS and not path.exists():
        path = checkout_root() / path
    params = load_params(path, overrides)
    if experiment:
        params.experiment(experiment)  # tells a misspelt name from a misspelt key
    named = [f"{experiment}.{key}={value}" for key, value in given.items() if value is not None]
    if not named:
        return params
    try:
        return load_params(path, [*overrides, *named])
    except UserError as error:
        # The file and --set alone were fine: the fault is an option's.
        text = str(error).removeprefix(f"{path.name}: ")
        key = text.removeprefix(f"{experiment}.").partition(": ")[0]
        if key not in given:
            raise
        option = "model" if key == "model.name" else key.rpartition(".")[2]
        raise UserError(f"--{option.replace('_', '-')}: {text}") from error


def runtime(**given: Any) -> "RuntimeSettings":
    """The validated options of how to run; a wrong value is a ``UserError``."""
    from pydantic import ValidationError

    from saliencymixplus.errors import UserError
    from saliencymixplus.settings import RuntimeSettings
    from saliencymixplus.settings.load import explain

    try:
        return RuntimeSettings(**given)
    except ValidationError as error:
        text = explain(error, "option").removeprefix("option: ")
        raise UserError("--" + text.replace("_", "-", 1)) from error
