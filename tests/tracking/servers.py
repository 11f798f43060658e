"""A real MLflow server on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.request import urlopen


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class MLflowServer:
    """A real `mlflow server` on loopback, over the room's database."""

    def __init__(self, room: Any, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"),
            *("--port", str(port), "--backend-store-uri", f"sqlite:///{room.database}"),
            *("--artifacts-destination", str(room.folder / "mlartifacts")),
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(2400):  # on a busy machine, importing MLflow alone takes a minute
            try:
                with urlopen(self.address + "/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError("the MLflow server does not come up")

    def stop(self) -> None:
        """End it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
