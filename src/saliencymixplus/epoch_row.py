"""The metrics of one epoch, as in history.csv, checkpoints and MLflow's charts."""

from dataclasses import dataclass, field, fields
from typing import Any


def _figure(unit: str = "", decimals: int = 3, *, optional: bool = False) -> Any:
    """A column; optional ones may be None if the epoch has no such batches or images."""
    shown = {"unit": unit, "decimals": decimals}
    return field(default=None, metadata=shown) if optional else field(metadata=shown)


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch, with the column names of history.csv.

    Errors are in percent, with the weights after the epoch; those of ``train_…`` are running
    averages over the epoch's batches, with both labels of a mixed image weighted by λ.
    """

    epoch: int = _figure(decimals=0)  # counted from 1
    learning_rate: float = _figure(decimals=6)  # of the last step
    train_loss: float = _figure()  # mean over all images, mixed or not
    train_clean_top1_error: float | None = _figure("%", 2, optional=True)  # of unmixed batches
    train_mixed_top1_error: float | None = _figure("%", 2, optional=True)
    validation_loss: float | None = _figure(optional=True)  # also None if not finite
    validation_top1_error: float | None = _figure("%", 2, optional=True)
    validation_top5_error: float | None = _figure("%", 2, optional=True)
    test_loss: float | None = _figure(optional=True)
    test_top1_error: float | None = _figure("%", 2, optional=True)
    test_top5_error: float | None = _figure("%", 2, optional=True)
    mean_lam: float | None = _figure(optional=True)  # of the mixed images
    seconds: float = _figure(" s", 1)  # training and evaluation
    images_per_second: float = _figure(" images/s", 0)  # of training
    forward_backward_passes: float = _figure(decimals=0)  # of a whole batch at full resolution
    # End of the epoch in Unix milliseconds, which identifies repeated uploads. Kept in the state
    # folder and the checkpoint, but not in the published history.csv.
    time_ms: int | None = _figure(" ms", 0, optional=True)

    def text(self, name: str) -> str:
        """The metric ``name`` formatted with its unit; empty if the epoch has none."""
        value = getattr(self, name)
        shown = _METADATA[name]
        return "" if value is None else f"{value:,.{shown['decimals']}f}{shown['unit']}"


_METADATA = {column.name: column.metadata for column in fields(EpochRow)}
COLUMNS = tuple(name for name in _METADATA if name != "time_ms")  # of the published history.csv
