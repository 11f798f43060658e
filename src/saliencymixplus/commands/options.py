"""Options shared by several commands, and their conversion to settings."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from saliencymixplus.commands import completion
from saliencymixplus.errors import UserError
from saliencymixplus.workspace import project_path

if TYPE_CHECKING:
    from saliencymixplus.settings import MixSettings, Params, RunSettings, RuntimeSettings

RECIPE = "Recipe (default: params.yaml)"
DEFAULT_PARAMS = Path("params.yaml")
DEFAULT_EXPERIMENT = "clutter"  # what `dvc repro` runs


def print_json(value: Any, file: TextIO | None = None) -> None:
    """Print ``value`` for scripts, in ASCII, which every terminal and pipe can encode."""
    print(json.dumps(value, indent=2), file=file)


@contextmanager
def only_json(asked: bool) -> Iterator[Callable[[Any], None]]:
    """If ``asked``, reserve standard output for the JSON that the yielded function prints.

    Everything else printed in the block goes to standard error.
    """
    out = sys.stdout

    def show(value: Any) -> None:
        if asked:
            print_json(value, out)

    with redirect_stdout(sys.stderr) if asked else nullcontext():
        yield show


def mix_option(text: str) -> Any:
    """An option that takes the name of a method, preset or recipe."""
    return typer.Option(metavar="NAME", help=text, autocompletion=completion.recipes)


def how(text: str, *names: str, **more: Any) -> Any:
    """An option in the help's panel "How to run", which does not affect the results."""
    return typer.Option(*names, help=text, rich_help_panel="How to run", **more)


ParamsFile = Annotated[Path, typer.Option("--params", help="The settings file.", metavar="FILE")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override any key in params.yaml: `--set mix.cutmix.alpha=0.2`. Repeatable.",
    ),
]
Experiment = Annotated[
    str,
    typer.Option(
        "--experiment",
        "--dataset",
        metavar="NAME",
        autocompletion=completion.experiments,
        help="A section in params.yaml; `experiments` lists them.",
    ),
]
ComparedMixes = Annotated[
    list[str] | None,
    mix_option(
        "A mixing method, preset or recipe. Repeatable. Default: `methods:` in params.yaml."
    ),
]
Ablation = Annotated[
    bool,
    typer.Option(
        "--ablation", help="Use the experiment, methods and seeds in `ablation:` instead."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON, and only JSON, to standard output.")
]
Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="RUN",
        help="Run folders, or folders that contain runs. Default: EXPERIMENT's in the pipeline.",
    ),
]
Prepared = Annotated[
    Path | None,
    typer.Option(help="Folder written by `prepare`. Default: the cached one, created if missing."),
]
Weights = Annotated[
    str, typer.Option(metavar="NAME", help="last, best_validation or other weights saved in RUN.")
]
Tracker = Annotated[str, typer.Option(metavar="NAME", help="mlflow or none.")]


def _seed(value: int) -> int:
    if not 0 <= value < 2**32:
        raise typer.BadParameter(f"{value} is not in 0 to {2**32 - 1}")
    return value


# Typer would display a range that takes half the width of the help.
Seed = Annotated[
    int, typer.Option(metavar="INT", callback=_seed, help="Seed of all random numbers.")
]
Device = Annotated[
    str,
    how("auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE"),
]


def load(path: Path, overrides: list[str] | None, experiment: str = "", **given: Any) -> "Params":
    """Read params.yaml, then apply ``--set`` and the options given for one experiment.

    Args:
        path: the settings file; the default one is also found from subfolders.
        overrides: values of ``--set``.
        experiment: must be in the file, if given.
        **given: keys in the experiment's section (``training.epochs``) to option values, None if
            the option was not given.

    Raises:
        UserError: a setting is invalid; if an option set it, the message starts with the option.
    """
    from saliencymixplus.settings import load_params

    if path == DEFAULT_PARAMS and not path.exists():
        path = project_path(path)
    options = {
        f"{experiment}.{key}": (_option(key), value)
        for key, value in given.items()
        if value is not None
    }
    params = load_params(path, overrides or (), options)
    if experiment:
        params.experiment(experiment)
    return params


def compared_runs(
    context: typer.Context,
    params: "Params",
    experiment: str,
    mix_aug: list[str] | None,
    ablation: bool,
) -> "list[RunSettings]":
    """The settings of every run of a comparison that the options name."""
    methods, seeds = params.top.methods, params.top.seeds
    if ablation:
        refuse(context, ("experiment", "mix_aug"), "is ignored with --ablation: leave one out")
        section = params.ablation()
        experiment, methods, seeds = section.experiment, section.methods, section.seeds
    params.experiment(experiment)
    names = [mix.name for mix in recipes(params, mix_aug or methods)]
    return [params.run(experiment, name, seed) for name in names for seed in seeds]


def recipes(params: "Params", names: Iterable[str]) -> "list[MixSettings]":
    """The mixing recipes with these ``names``.

    Raises:
        UserError: there is no such recipe, or two of them would share a folder.
    """
    from saliencymixplus.settings.names import distinct

    found = [params.mix(name) for name in names]
    try:
        distinct([mix.name for mix in found])
    except ValueError as error:
        raise UserError(str(error)) from error
    return found


def data_of(run: "RunSettings", params: "Params") -> Path:
    """Find the prepared data of a run, or prepare them.

    The run's folder may come from somebody else, so only the user's own params.yaml may name
    folders to read and addresses to download from.

    Raises:
        UserError: the data are not prepared yet, and params.yaml has no such experiment.
    """
    from saliencymixplus.datasets.cache import find_prepared, prepared

    name = run.experiment
    if name in params.sections:
        own = run.model_copy(update={"download": params.sections[name].download})
    else:
        own = None
    wanted = run if run.download.path is None else own
    if wanted and (found := find_prepared(wanted, name)):
        return found
    if own is None:
        raise UserError(
            f"{params.path.name} has no experiment {name!r} to prepare data for: "
            "give the run's data with --prepared"
        )
    return prepared(own, name)


def _option(key: str) -> str:
    name = "model" if key == "model.name" else key.rpartition(".")[2]
    return "--" + name.replace("_", "-")


def refuse(context: typer.Context, names: tuple[str, ...], reason: str) -> None:
    """Raise ``UserError`` if one of these options, which the command would ignore, was given.

    Args:
        names: of the options' parameters.
        reason: follows the option's name in the message.
    """
    for name in names:
        if given(context, name):
            (option,) = (p.opts[0] for p in context.command.params if p.name == name)
            raise UserError(f"{option} {reason}")


def given(context: typer.Context, name: str) -> bool:
    """Whether the option with this parameter name is on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def runtime(**given: Any) -> "RuntimeSettings":
    """Validate runtime options; an invalid value raises ``UserError``."""
    from pydantic import ValidationError

    from saliencymixplus.settings import RuntimeSettings
    from saliencymixplus.settings.faults import explain

    try:
        return RuntimeSettings(**given)
    except ValidationError as error:
        raise UserError("--" + explain(error).replace("_", "-", 1)) from error
