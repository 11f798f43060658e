"""A table of the errors so far, for DVC and editors to plot while training is running."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from saliencymixplus.engine.context import Hook, TrainingContext
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.files import write_text
from saliencymixplus.outputs import check_file
from saliencymixplus.pictures.style import method_styles
from saliencymixplus.settings import RunSettings
from saliencymixplus.tables import Column, Table, Value

_COLUMNS = ("experiment", "method", "colour", "seed", "epoch", "train_loss", "test_top1_error")


class LiveCurves(Hook):
    """Writes the CSV file ``path``, one row per run and epoch; writes nothing if it is None.

    As a hook, it adds each epoch of a training in this process.
    """

    def __init__(self, path: Path | None, runs: Iterable[RunSettings]) -> None:
        if path:
            check_file(path, ",".join(_COLUMNS))
        self.path = path
        self.styles = method_styles(run.mix.name for run in runs)
        self._rows: list[list[Value]] = []

    def add(self, run: RunSettings, rows: Sequence[EpochRow]) -> None:
        """Add a run's epochs."""
        style = self.styles[run.mix.name]
        what: list[Value] = [run.experiment, style.label, style.colour, run.seed]
        self._rows += [[*what, row.epoch, row.train_loss, row.test_top1_error] for row in rows]
        if self.path:
            write_text(self.path, Table([Column(name) for name in _COLUMNS], self._rows).csv())

    def on_epoch_end(self, context: TrainingContext, row: EpochRow) -> None:
        if context.processes.first:
            self.add(context.run, [row])
