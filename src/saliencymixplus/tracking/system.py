"""Samples what the machine does while a run goes on, beside it and never in its way."""

import threading
import time
from collections.abc import Callable, Mapping

_FIRST, _LONGEST = (
    1.0,
    30.0,
)  # seconds between samples, at the start of a run and late in a long one


class SystemSampler(threading.Thread):
    """Reports the mean of MLflow's system metrics, often at first and then ever less often."""

    def __init__(
        self,
        log: Callable[[Mapping[str, float], int], None],
        report: Callable[[str], None],
        step: int,
    ) -> None:
        super().__init__(name="saliencymixplus-system", daemon=True)
        self._log, self._report, self._step = log, report, step
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped; a failure ends the sampling with one line and nothing else."""
        from saliencymixplus.tracking.mlflow_library import system_monitors

        try:
            monitors = system_monitors()
            for monitor in monitors:  # loads are means since the reading before: the first has none
                monitor.collect_metrics()
                monitor.clear_metrics()
            start = time.monotonic()
            while not self._ended.wait(min(_LONGEST, max(_FIRST, (time.monotonic() - start) / 60))):
                values: dict[str, float] = {}
                for monitor in monitors:
                    monitor.collect_metrics()
                    values |= {
                        f"system/{k}": float(v) for k, v in monitor.aggregate_metrics().items()
                    }
                    monitor.clear_metrics()
                self._log(values, self._step)
                self._step += 1
        except ModuleNotFoundError as error:
            self._report(f"no system metrics without {error.name}: run `pip install {error.name}`")
        except Exception as error:
            self._report(f"no more system metrics: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """Stop; waits for a sample that is under way."""
        self._ended.set()
        self.join(timeout=5.0)
