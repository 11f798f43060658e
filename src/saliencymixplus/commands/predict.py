"""``predict``: classify new pictures with a trained run."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError

FORMATS = ("table", "csv", "json")
_SHOWN_ON_SHEET = 24


def _format(value: str) -> str:
    if value not in FORMATS:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(FORMATS)}")
    return value


def _listed() -> list[str]:
    """The paths on standard input, one per line in any encoding; none if it is closed."""
    if sys.stdin is None:
        return []
    return [os.fsdecode(line).rstrip("\r\n") for line in sys.stdin.buffer]


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Pictures, folders or archives; - reads paths from standard input."
        ),
    ],
    weights: options.Weights = "last",
    top: Annotated[int, typer.Option(min=1, metavar="INT", help="Classes per picture.")] = 3,
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", callback=_format, help="table, csv or json."),
    ] = "table",
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Draw a sheet of the least certain pictures, at most 24."),
    ] = None,
    cam: Annotated[
        bool,
        typer.Option("--cam", help="Overlay Grad-CAM on the sheet: what the network looked at."),
    ] = False,
    device: options.Device = "auto",
) -> None:
    """Classify pictures with a trained run.

    They are preprocessed like the run's test images. Pictures that cannot be read are reported and
    skipped; the exit code is then 1.
    """
    if cam and sheet is None:
        raise UserError("--cam draws on the sheet: also give --sheet FILE.png")
    listed = _listed() if "-" in paths else []
    named = [Path(path) for path in [*(p for p in paths if p != "-"), *listed] if path]
    if not named:
        raise UserError("standard input names no pictures: give their paths, one per line")

    from saliencymixplus.engine.device import choose_device
    from saliencymixplus.inference.collect import pictures
    from saliencymixplus.inference.predict import Predictor, as_table, contact_sheet, least_certain
    from saliencymixplus.outputs import check_file
    from saliencymixplus.pictures.drawing import PICTURE_MARK, save_picture
    from saliencymixplus.runs.read import load_run

    if sheet:
        check_file(sheet, PICTURE_MARK)
    trained = load_run(run)
    predictor = Predictor(trained, weights, choose_device(device), activations=cam)
    found = list(predictor(pictures(named), top))
    if format_ == "json":
        options.print_json([prediction.as_json() for prediction in found], sys.stdout)
    elif format_ == "csv":
        typer.echo(as_table(found).csv(), nl=False)
    else:
        from rich.console import Console

        width = min(100, shutil.get_terminal_size((100, 24)).columns)
        Console(width=width).print(as_table(found, short=True, width=width).rich())
    doubtful = least_certain(found, _SHOWN_ON_SHEET)
    if sheet and doubtful:
        save_picture(contact_sheet(doubtful, f"Least certain of {len(found)}"), sheet)
        typer.echo(f"sheet: {sheet}", err=format_ != "table")
    errors = [prediction.error for prediction in found if prediction.error]
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors:
        raise typer.Exit(1)
