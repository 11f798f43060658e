"""Time functions on a device, and measure the device's peak rate."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch


class Timing(NamedTuple):
    """Medians over rounds: of a function, of its reference, and of their ratio."""

    ms: float
    reference_ms: float
    ratio: float


@dataclass(frozen=True)
class Clock:
    """Measures the median time of a function after a warm-up, with device events on a GPU.

    Attributes:
        rounds: number of measurements to take the median of; after ``patience`` seconds, three
            are enough.
        warmup: number of calls before the first measurement; also limited to ``patience``.
        round_seconds: minimum duration of a round, which repeats the function.
    """

    device: torch.device
    rounds: int = 20
    warmup: int = 5
    round_seconds: float = 0.05
    patience: float = 10.0

    def median_ms(self, function: Callable[[], object]) -> float:
        """Median time of one call in milliseconds."""
        return self.compare(function).ms

    def compare(
        self, function: Callable[[], object], reference: Callable[[], object] | None = None
    ) -> "Timing":
        """Compare a call with one of ``reference`` (default: the function itself).

        Rounds of both alternate, and the ratio is the median over pairs of rounds, because the
        speed of a shared machine varies.
        """
        both = [function] if reference is None else [function, reference]
        repeats = [self._warm_up(each) for each in both]
        found: list[list[float]] = []
        began = time.perf_counter()
        while len(found) < self.rounds:
            if len(found) >= 3 and time.perf_counter() - began > len(both) * self.patience:
                break
            found.append([self._round(f, n) for f, n in zip(both, repeats, strict=True)])
        return Timing(
            statistics.median(times[0] for times in found),
            statistics.median(times[-1] for times in found),
            statistics.median(times[0] / times[-1] for times in found),
        )

    def _warm_up(self, function: Callable[[], object]) -> int:
        """Call the function until it is warm; returns the number of calls per round."""
        began = time.perf_counter()
        for done in range(self.warmup):
            if done and time.perf_counter() - began > self.patience:
                break
            function()
        once = self._round(function, 1)
        return max(1, min(200, round(self.round_seconds * 1000 / max(once, 1e-3))))

    def _round(self, function: Callable[[], object], repeats: int) -> float:
        if self.device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            for _ in range(repeats):
                function()
            last.record()
            last.synchronize()
            return float(first.elapsed_time(last)) / repeats
        began = time.perf_counter()
        for _ in range(repeats):
            function()
        if self.device.type == "mps":
            torch.mps.synchronize()
        return 1000 * (time.perf_counter() - began) / repeats


def matmul_peak(clock: Clock, device: torch.device, dtype: torch.dtype) -> float:
    """The highest measured rate of square matrix products, in FLOP/s."""
    sizes = (4096, 8192) if device.type == "cuda" else (512, 1024, 2048)
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        ms = clock.median_ms(lambda a=a, b=b: a @ b)  # type: ignore[misc]
        best = max(best, 2 * size**3 / (ms / 1000))
    return best
