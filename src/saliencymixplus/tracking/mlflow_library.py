"""MLflow as an installed library: imported quietly, with bounded waits, and what it can meter."""

import logging
import os
from typing import Any

from saliencymixplus.errors import UserError


def require_mlflow() -> None:
    """Import MLflow, quietly.

    Raises:
        UserError: it is not installed; says how to install it or do without.
    """
    # Bounded waits: the sender itself tries again, and a dead server must not hold back the end.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"MLflow cannot be imported ({error}): run `pip install 'mlflow>=3.11.1' psutil`, "
            "or go without by `--tracker none`"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def system_monitors() -> list[Any]:
    """MLflow's meters of processor, memory, disk, network and, where there is one, GPU.

    Raises:
        ImportError: psutil is missing.
    """
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except (ImportError, RuntimeError):  # no NVML binding, or no NVIDIA GPU
        logging.getLogger(__name__).debug("no GPU to watch", exc_info=True)
    return monitors
