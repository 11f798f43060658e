"""The command line as a user runs it: stopped, failing, without its server, and repeated."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Read what the process says up to a line that begins so."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith(line):
        assert process.poll() is None


def weights(run: Path) -> dict[str, str]:
    """File name to SHA-256."""
    files = sorted((run / "weights").glob("*.safetensors"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_same_seed_gives_the_same_bytes(place: Any, history: Any) -> None:
    """On the device's side, and from none, two and three loader processes."""
    ways = {
        "device": ("--data-on", "device"),
        "0": ("--data-on", "host", "--workers", 0),
        "2": ("--data-on", "host", "--workers", 2),
        "3": ("--data-on", "host", "--workers", 3),
        "other": ("--data-on", "device", "--seed", 1),
    }
    for name, way in ways.items():
        place.run(*place.train("--epochs", 2, "--tracker", "none", "--output", name, *way))
    expected = weights(place.root / "device")
    assert len(expected) == 4  # last, the two best ones, and the epoch that params.yaml asks for
    for name in ("0", "2", "3"):
        assert weights(place.root / name) == expected
        assert history(place.root / name) == history(place.root / "device")
    assert weights(place.root / "other") != expected


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_so_and_goes_on(place: Any, number: int, code: int) -> None:
    recipe = ("--mix-aug", "cutmix", "--epochs", 12)
    place.run(*place.train(*recipe, "--tracker", "none", "--output", "whole"))
    command = place.train(*recipe, "--output", "run")
    process = place.start(*command)
    wait_for(process, "epoch")
    process.send_signal(number)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == code, said
    assert "error: stopped by SIG" in said
    assert "the same command resumes from there" in said
    assert "Traceback" not in said
    assert not (place.root / "run").exists()
    assert place.statuses() == ["KILLED"]
    said = place.run(*command)
    assert "resumed after epoch" in said
    assert weights(place.root / "run") == weights(place.root / "whole")
    ((_, losses),) = place.tracked().items()
    assert sorted(losses) == list(range(1, 13))
    assert place.leftovers() == []


def test_a_loss_that_explodes_fails_the_run(place: Any) -> None:
    command = place.train("--epochs", 6, "--learning-rate", "1e38", "--output", "run")
    process = place.start(*command)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 1, said
    error = said.splitlines()[-1]
    assert error.startswith("error: ")
    for word in ("epoch", "step", "learning rate"):
        assert word in error
    assert "Traceback" not in said
    assert place.statuses() == ["FAILED"]
    assert not (place.root / "run").exists()


@pytest.fixture
def server(place: Any) -> Iterator[Any]:
    """Starts an MLflow server, on a port that was free; it ends with the test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []

    def start() -> str:
        where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        store = ("--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "files")
        command = (sys.executable, "-m", "mlflow", "server", *where, *store)
        started.append(
            subprocess.Popen(
                command,
                cwd=place.root,
                env=place.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return ""
            time.sleep(0.2)
        raise AssertionError("the server did not start")

    start.address = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


def test_training_without_its_server_is_sent_later(place: Any, server: Any) -> None:
    address = {"MLFLOW_TRACKING_URI": server.address}
    sync = (sys.executable, "cli.py", "sync")
    began = time.monotonic()
    said = place.run(*place.train("--epochs", 3, "--output", "run"), **address)
    assert time.monotonic() - began < 100
    assert "sync" in said, "what to do is said"
    assert (place.root / "run" / "summary.json").is_file()
    waiting = place.start(*sync, **address)
    said, _ = waiting.communicate(timeout=100)
    assert waiting.returncode == 1
    assert "1 run was not sent: " in said
    server()
    assert "metrics and files sent" in place.run(*sync, **address)
    assert "nothing to send" in place.run(*sync, **address)
    ((_, losses),) = place.tracked().items()
    assert sorted(losses) == [1, 2, 3]
