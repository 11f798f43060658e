"""The application: its help, its commands, and how a mistake is reported."""

import os
import sys

import typer

from saliencymixplus.errors import UserError

app = typer.Typer(
    name="saliencymixplus",
    help="Train, track and compare image-mixing augmentation.\n\n"
    "Try `python cli.py train --mix-aug saliencymixplus`: it needs no download and takes "
    "a few seconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    # --mix_aug and --mix-aug are the same, so that the published command lines work unchanged.
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
)


def main() -> None:
    """Run the command line; a mistake of the user's is one line and an exit code."""
    # Read when torch is loaded. Threads that spin while they wait make trainings that share a
    # machine (a DVC queue's workers, say) tens of times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Importing registers the commands, in the order of the help: as they are needed.
    from saliencymixplus.commands import data, train, evaluate, preview, bench  # noqa: F401, I001

    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer has caught Ctrl-C, and says nothing
            code = _fail("interrupted", code)
    except UserError as error:
        code = _fail(str(error), error.exit_code)
    except OSError as error:
        code = _fail(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "), 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", 130)
    except Exception as error:
        # Typer's usage errors: older releases raise click's classes, newer ones their own copy.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        code = _fail(f"{message} (see --help)", 2) if message else 2
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return code
