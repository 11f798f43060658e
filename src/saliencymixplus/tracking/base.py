"""What a training tells its tracker, and the tracker that records nothing."""

from pathlib import Path
from typing import Any, Literal

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Records nothing: what ``--tracker none`` gives. ``MLflowTracker`` overrides every method.

    Only ``finish`` waits for a store, and for a bounded time.
    """

    def update(self) -> None:
        """Note that history.csv or samples/ in the run's state folder has changed."""

    def publish(self, output: Path) -> None:
        """Record the files of the finished run folder ``output``."""

    def log_models(self, output: Path) -> None:
        """Record the weights of the finished run folder ``output`` as MLflow models."""

    def finish(self, status: Status, timeout: float | None = None) -> bool:
        """End the run and wait up to ``timeout`` seconds for everything to be sent.

        Default: 30 seconds, or ``SALIENCYMIXPLUS_TRACKING_TIMEOUT``. Returns whether the state
        folder may be deleted: what is not sent yet has been moved out of it, for ``sync``.
        """
        return True

    @property
    def reference(self) -> dict[str, Any]:
        """The content of the run folder's tracking.json."""
        return {"tracker": "none"}

    @property
    def url_hint(self) -> str | None:
        """How to open the run in MLflow's user interface."""
        return None
