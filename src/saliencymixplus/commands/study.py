"""``study-cell`` and ``study-report``: the stages of ``dvc --cd study repro``."""

from pathlib import Path
from typing import Annotated

import typer

from saliencymixplus.commands import options
from saliencymixplus.errors import UserError
from saliencymixplus.outputs import check_files, check_folder
from saliencymixplus.settings.top import StudySettings

CELLS = Path("study/cells")  # as in study/dvc.yaml


def study_cell(
    object_size: Annotated[int, typer.Option(min=1, help="Side of the objects in pixels.")],
    train_digits: Annotated[int, typer.Option(min=1, help="Digits to train on.")],
    output: Annotated[Path, typer.Option(help="Folder of the cell.")],
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Concurrent trainings. Default: as many as cores and memory allow, one on a GPU.",
        ),
    ] = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Train and audit all recipes of `study:` at one object size and amount of data.

    Finished runs of the same settings, data and code are kept.
    """
    study = _study(params, set_)

    from saliencymixplus.audit.audit import OUTPUT as AUDIT
    from saliencymixplus.datasets.cache import prepared
    from saliencymixplus.study.cell import OUTPUT, cell_overrides, run_cell, study_overrides

    check_files(output, OUTPUT)
    check_folder(output / "audit", AUDIT)
    changed = [*study_overrides(study), *(set_ or ())]  # later ones win
    try:
        options.load(params, changed)
    except UserError as error:
        raise UserError(f"study.settings: {str(error).removeprefix('--set: ')}") from error
    loaded = options.load(params, [*changed, *cell_overrides(study, object_size, train_digits)])
    data = prepared(loaded.experiment(study.experiment), study.experiment)
    run_cell(loaded, data, output, jobs=jobs)
    typer.echo(f"cell: {output}")


def study_report(
    output: Annotated[Path, typer.Option(help="Folder of the report.")],
    cells: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="CELL",
            show_default=False,
            help=f"Folders of cells. Default: those of `study:`, below {CELLS}/.",
        ),
    ] = None,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Report on cells: errors by object size, and test error versus label error."""
    if not cells:
        study = _study(params, set_)
        cells = [
            CELLS / f"{size}-{digits}"
            for size in study.object_sizes
            for digits in study.train_digits
        ]

    from saliencymixplus.study.report import OUTPUT, write_report
    from saliencymixplus.study.results import read_cells, read_loops

    check_files(output, OUTPUT)
    typer.echo(write_report(read_cells(cells), read_loops(cells), output))
    typer.echo(f"study: {output}")


def _study(params: Path, set_: list[str] | None) -> StudySettings:
    study = options.load(params, set_).top.study
    if study is None:
        raise UserError(f"{params}: there is no section `study`")
    return study
