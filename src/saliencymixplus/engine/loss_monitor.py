"""Monitor the running loss without making the host wait for the device."""

import torch

from saliencymixplus.engine.epoch_metrics import EpochMetrics

_EVERY = 20  # steps between copies from a GPU


class LossMonitor:
    """The mean loss of the epoch so far, and the first batch with a non-finite loss.

    On the CPU both are current. From a GPU they are copied in the background, so they lag by some
    steps.
    """

    def __init__(self, metrics: EpochMetrics) -> None:
        self.metrics = metrics
        self.asynchronous = metrics.sums.device.type == "cuda"
        self._host = torch.zeros(3, dtype=torch.float64)
        self._event: torch.cuda.Event | None = None
        if self.asynchronous:
            self._host = self._host.pin_memory()

    def start(self) -> None:
        """Start an epoch, dropping a copy in progress, which belongs to the previous epoch."""
        self._event = None

    def look(self, index: int) -> tuple[float, int | None] | None:
        """(mean loss, first bad batch or None) after step ``index``; None if not yet available."""
        if not self.asynchronous:
            return _read(self._now())
        found = None
        if self._event is not None and self._event.query():
            found, self._event = _read(self._host), None
        if self._event is None and index % _EVERY == 0:
            self._host.copy_(self._now(), non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        return found

    def wait(self) -> tuple[float, int | None]:
        """The current values of the same; waits for the device."""
        return _read(self._now().cpu())

    def _now(self) -> torch.Tensor:
        return torch.stack([*self.metrics.sums[:2], self.metrics.bad_batch])


def _read(values: torch.Tensor) -> tuple[float, int | None]:
    loss, images, bad = values.tolist()
    return loss / max(1.0, images), int(bad) if bad >= 0 else None
