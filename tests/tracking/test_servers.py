"""Servers that are down, slow or answering errors: training goes on, records arrive later."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.files import write_json
from saliencymixplus.tracking import reopen
from saliencymixplus.tracking.sync import sync


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server on loopback of which every request gets ``answer``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_PUT = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _answers(status: int, body: bytes = b"out of order") -> Callable[[Any], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def _hangs(request: BaseHTTPRequestHandler) -> None:
    time.sleep(30)


@contextmanager
def _nothing() -> Iterator[str]:
    yield f"http://127.0.0.1:{_free_port()}"


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(_nothing, id="down"),
        pytest.param(lambda: _server(_hangs), id="hanging"),
        pytest.param(lambda: _server(_answers(500)), id="500"),
        pytest.param(lambda: _server(_answers(503)), id="503"),
        pytest.param(lambda: _server(_answers(404)), id="404"),
        pytest.param(lambda: _server(_answers(401)), id="401"),
        pytest.param(lambda: _server(_answers(200)), id="no JSON"),
    ],
)
def test_a_broken_server_costs_no_time_and_no_record(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: Any
) -> None:
    import saliencymixplus.mixing  # noqa: F401  # torch: a trainer has it already

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    with server() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        start = time.monotonic()
        tracker = room.start()
        for epoch in range(1, 4):
            tracker.log_epoch(epoch, {"train_loss": 1.0})
        tracker.finish(timeout=0.3)
        assert time.monotonic() - start < 10  # of the 30 seconds that the slow server takes
        said = capsys.readouterr().err.splitlines()
        assert "python cli.py sync" in said[-1]
        assert len(said) <= 2
        assert tracker.url_hint == address
        epochs = [r.epoch for r in tracker.journal.pending() if r.kind == "metrics"]
        assert epochs == [1, 2, 3]


def test_sync_says_what_still_waits(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with _nothing() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracker = room.start()
        tracker.finish(timeout=0.1)
        tracker._sender.join(10)
        with pytest.raises(UserError, match=r"5 records still wait: MLflow \(http://127"):
            sync(room.state, report=lambda text: None)


def test_what_waited_for_the_store_is_sent_by_sync_with_its_times(
    room: Any, tmp_path: Path
) -> None:
    """The database cannot be opened during training and evaluation, and can be at the sync."""
    room.database.rename(tmp_path / "elsewhere.db")
    room.database.mkdir()
    tracker = room.start()
    tracker.log_epoch(1, {"train_loss": 1.0})
    tracker.finish(timeout=0.1)
    write_json(tmp_path / "tracking.json", tracker.reference)
    evaluation = reopen(tmp_path)
    evaluation.log_results({"evaluation/top1_error": 3.0})
    evaluation.finish(timeout=0.1)
    for one in (tracker, evaluation):
        one._sender.join(10)  # type: ignore[attr-defined]
    (logged,) = [r for r in tracker.journal.pending() if r.kind == "metrics"]

    room.database.rmdir()
    (tmp_path / "elsewhere.db").rename(room.database)
    lines: list[str] = []
    assert sync(room.state, report=lines.append) == 7
    assert lines[0] == "digits · cutmix · seed 0: 6 records sent, 0 wait"
    assert sync(room.state, report=lines.append) == 0
    rows = room.query("SELECT step, timestamp FROM metrics WHERE key = 'train_loss'")
    assert rows == [(1, logged.time)]
    assert [status for _, status in room.runs()] == ["FINISHED"]
    assert room.epochs("evaluation/top1_error") == [0]


def test_sync_with_nothing_to_send(room: Any) -> None:
    lines: list[str] = []
    assert sync(room.state, report=lines.append) == 0
    assert lines == ["no records wait"]


class _MLflow:
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
        for _ in range(600):
            try:
                with urlopen(self.address + "/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError("the MLflow server does not come up")

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(
    room: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    monkeypatch.setattr("saliencymixplus.tracking.sender._FIRST_WAIT", 0.2)
    port = _free_port()
    server = _MLflow(room, port)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        tracker = room.start()
        tracker.log_epoch(1, {"train_loss": 1.0})
        assert tracker._sender.drain(30)
        server.stop()
        tracker.log_epoch(2, {"train_loss": 0.9})
        weights = tmp_path / "last.safetensors"
        weights.write_bytes(b"weights")
        tracker.log_file(weights, "weights")
        assert not tracker._sender.drain(5)
        server = _MLflow(room, port)
        tracker.log_epoch(3, {"train_loss": 0.8})
        tracker.finish(timeout=60)
        assert tracker.journal.pending() == []
        assert room.epochs() == [1, 2, 3]
        assert len(room.runs()) == 1
        assert any(name.endswith("weights/last.safetensors") for name in room.artifacts())
    finally:
        server.stop()
