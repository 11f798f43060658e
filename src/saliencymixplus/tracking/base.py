"""The tracker interface, and a tracker that records nothing."""

from pathlib import Path
from typing import Any, Literal

Kind = Literal["mlflow", "none"]
Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Records nothing, for ``--tracker none``; ``MLflowTracker`` overrides every method.

    Only ``finish`` waits for a store, and only for a limited time.
    """

    def update(self) -> None:
        """Signal that history.csv or samples/ in the run's state folder has changed."""

    def publish(self, output: Path) -> None:
        """Record the files of the finished run folder ``output``."""

    def log_models(self, output: Path) -> None:
        """Record the weights of the finished run folder ``output`` as MLflow models."""

    def finish(self, status: Status, timeout: float | None = None) -> bool:
        """End the run and wait until everything is sent, for up to ``timeout`` seconds.

        The default is 30 seconds or ``SALIENCYMIXPLUS_TRACKING_TIMEOUT``. Returns whether the
        state folder may be deleted: unsent records have then been moved out of it for ``sync``.
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
