"""Sample system metrics (CPU, memory, disk, network, GPU), one line of JSON per sample."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from saliencymixplus.tracking.record import now

FILE = "system.jsonl"
FIRST, LONGEST = 1.0, 30.0  # seconds between samples, growing from the first to the second


class SystemSampler(threading.Thread):
    """Samples MLflow's system metrics in the background, at increasing intervals."""

    def __init__(
        self, folder: Path, changed: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        super().__init__(name="saliencymixplus-system", daemon=True)
        self._path, self._changed, self._say = folder / FILE, changed, say
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until stopped. A failure is reported once; a full disk only loses samples."""
        try:
            monitors = _monitors()
            for monitor in monitors:  # loads are averages since the previous reading: skip one
                monitor.collect_metrics()
                monitor.clear_metrics()
            step = 1 + max((step for _, step, _ in samples(self._path)), default=-1)
            start = time.monotonic()
            while not self._ended.wait(min(LONGEST, max(FIRST, (time.monotonic() - start) / 60))):
                values: dict[str, float] = {}
                for monitor in monitors:
                    monitor.collect_metrics()
                    values |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                if self._append(step, values):
                    step += 1
                    self._changed()
        except ModuleNotFoundError as error:
            self._say(f"no system metrics without {error.name}: run `pip install {error.name}`")
        except Exception as error:
            self._say(f"system metrics stopped: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """Stop, waiting for a sample in progress."""
        self._ended.set()
        self.join(timeout=5.0)

    def _append(self, step: int, values: Mapping[str, float]) -> bool:
        """Append one sample, preceded by a newline in case a full disk cut the last line short."""
        line = json.dumps({"time_ms": now(), "step": step, "values": values})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")
        except OSError:
            return False
        return True


def samples(path: Path) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Yield the time in ms, step and values of every complete sample."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            sample = json.loads(line)
            values = {str(name): float(value) for name, value in sample["values"].items()}
            yield int(sample["time_ms"]), int(sample["step"]), values
        except (ValueError, TypeError, KeyError, AttributeError):  # empty or truncated
            continue


def _monitors() -> list[Any]:
    """MLflow's monitors of CPU, memory, disk, network and any NVIDIA GPU; they need psutil."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except (ImportError, RuntimeError):  # no NVML binding, or no NVIDIA GPU
        logging.getLogger(__name__).debug("no GPU to monitor", exc_info=True)
    return monitors
