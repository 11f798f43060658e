"""What a run may record about itself, and the tracker that records nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import nn

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Records a run. This base class records nothing: it is what ``--tracker none`` gives.

    No method waits for a server, except ``finish``, for a bounded time.
    """

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch (counted from 1).

        A key that this run already has for this epoch is left as it is, so that an epoch that is
        repeated after a crash counts once, and a resumed run may log its whole history again.
        """

    def log_results(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record final figures, such as an evaluation's: a repeated one replaces the former."""

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        """Add ``image``, uint8 ``(H, W, 3)``, to the series ``key``; one per key and step."""

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of the file as it is now, below ``folder`` of the run's artifacts."""

    def log_dict(self, value: Any, name: str) -> None:
        """Keep ``value`` as the JSON artifact ``name``, without the credentials it may hold."""

    def log_model(self, model: "nn.Module", example: np.ndarray, name: str = "model") -> None:
        """Keep ``model`` as an MLflow model, once per run and name.

        ``example``: float32 ``(B, 3, H, W)``, normalised, B ≥ 2; it fixes the signature, in which
        the batch size stays free. The model is exported as it is, in evaluation mode, on the CPU.
        """

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""

    def rewind(self, epoch: int) -> None:
        """On resuming after ``epoch``: forget what was recorded of later epochs and not yet sent.

        What may have been sent stays, and ``log_epoch`` will not record it again.
        """

    def finish(self, status: Status = "FINISHED", timeout: float | None = None) -> None:
        """End the run and wait at most ``timeout`` seconds until everything is sent.

        Default: 30 seconds, or ``SALIENCYMIXPLUS_TRACKING_TIMEOUT``. What then remains stays on
        disk for ``python cli.py sync``, and that is said.
        """

    @property
    def reference(self) -> dict[str, Any]:
        """How ``reopen`` finds this run again: the content of tracking.json."""
        return {"tracker": "none"}

    @property
    def url_hint(self) -> str | None:
        """The command that opens the user interface, or its address."""
        return None


class NoneTracker(Tracker):
    """Records nothing and needs nothing installed."""
