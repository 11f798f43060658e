"""The command-line application: commands, help, and error output."""

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands.bench import bench
from saliencymixplus.commands.compare import compare, report
from saliencymixplus.commands.config import config
from saliencymixplus.commands.data import download, prepare, resolve
from saliencymixplus.commands.evaluate import audit, evaluate
from saliencymixplus.commands.evaluate_all import evaluate_all
from saliencymixplus.commands.export import export
from saliencymixplus.commands.lists import experiments, methods, models
from saliencymixplus.commands.predict import predict
from saliencymixplus.commands.preview import preview
from saliencymixplus.commands.register import register
from saliencymixplus.commands.study import study_cell, study_report
from saliencymixplus.commands.train import sync, train
from saliencymixplus.commands.train_all import train_all
from saliencymixplus.errors import UserError, is_out_of_memory, one_line, reason_of
from saliencymixplus.version import __version__

# Options of the published command line that are named differently here.
_PUBLISHED = {"start-mixaugmentation": "mix-start"}


def _normalised(token: str) -> str:
    """Accept published command lines unchanged: ``--mix_aug`` is ``--mix-aug``."""
    token = token.replace("_", "-")
    return _PUBLISHED.get(token, token)


app = typer.Typer(
    name="saliencymixplus",
    help="Train, track and compare image-mixing augmentation.\n\n"
    "Try `python cli.py train --mix-aug saliencymixplus`: it needs no download and takes "
    "a few seconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _normalised,
    },
)

# In typical order of use, which is also the order in the help.
for command in (
    download,
    prepare,
    resolve,
    train,
    train_all,
    sync,
    evaluate,
    evaluate_all,
    audit,
    compare,
    report,
    predict,
    export,
    register,
    preview,
    bench,
    study_cell,
    study_report,
    methods,
    models,
    experiments,
    config,
):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"saliencymixplus {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line; user errors are printed as one line and set the exit code."""
    for stream in (sys.stdout, sys.stderr):  # never fail on characters that cannot be encoded
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Torch reads this when it is loaded. Threads that spin while waiting slow down trainings that
    # share a machine, such as workers of a DVC queue, by an order of magnitude or more.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _check_working_directory()
        code = app(standalone_mode=False)
        if code == 130:  # Ctrl-C, which typer catches without printing anything
            code = _fail("interrupted", code)
    except UserError as error:
        code = _fail(str(error), error.exit_code)
        _explain_rewritten_params()
    except OSError as error:
        code = _fail(reason_of(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = reason_of(error)
        code = _fail(f"out of memory ({reason}): try smaller batches or images, or --device cpu", 1)
    except Exception as error:
        # Typer's usage errors: older releases raise click's classes, newer ones their own copies.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        code = _fail(f"{message} (see --help)", 2) if message else 2
    sys.exit(code)


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was deleted: change to another one") from error


def _explain_rewritten_params() -> None:
    """Say how to undo what a failed `dvc exp run -S` leaves in the workspace's params.yaml."""
    from saliencymixplus.runs.provenance import committed_text

    if "DVC_EXP_NAME" not in os.environ:
        return
    folder = Path.cwd()
    if ".dvc/tmp/exps/" in folder.as_posix():
        return  # a temporary copy of the workspace
    before = committed_text(folder, "params.yaml")
    if before is not None and before != (folder / "params.yaml").read_text("utf-8").strip():
        typer.echo(
            "params.yaml keeps the settings of this experiment; `git checkout params.yaml` "
            "restores those of the last commit",
            err=True,
        )


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {one_line(message, longest=4000)}", err=True)
    return code
