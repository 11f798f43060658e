"""Servers that are down, slow or failing: training continues and records arrive later."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.runs.history import read_history
from saliencymixplus.tracking import record_evaluation, retire, unrecorded_evaluations
from saliencymixplus.tracking.sync import sync
from tests.tracking.servers import MLflowServer, free_port


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


def _read_only(*_: Any) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def _hangs(request: BaseHTTPRequestHandler) -> None:
    time.sleep(30)


@contextmanager
def _nothing() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


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
        training = room.start().epochs(3)
        training.finish(timeout=0.3)
        assert time.monotonic() - start < 10  # of the 30 seconds that the slow server takes
        said = capsys.readouterr().err.splitlines()
        assert "python cli.py sync" in said[-1]
        assert len(said) <= 2
        assert address in training.tracker.url_hint
        (waiting,) = room.waiting()
        assert [r.epoch for r in read_history(room.unsent / waiting / "history.csv")] == [1, 2, 3]
        assert not training.folder.exists()


def test_a_server_that_hangs_delays_the_first_of_many_evaluations(
    room: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    monkeypatch.setenv("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "0.5")
    (tmp_path / "evaluation").mkdir()
    with _server(_hangs) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        training = room.start().epochs(1)
        run = training.publish(tmp_path / "run")
        training.finish(timeout=0.1)
        capsys.readouterr()
        record_evaluation(run, tmp_path / "evaluation", {"top1_error": 3.0})
        assert "`python cli.py sync` sends the rest later" in capsys.readouterr().err
        monkeypatch.setenv("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "60")
        start = time.monotonic()
        for _ in range(3):
            record_evaluation(run, tmp_path / "evaluation", {"top1_error": 3.0})
        assert time.monotonic() - start < 10
        assert capsys.readouterr().err == ""
        assert len(room.waiting()) == 5  # the training, and every evaluation


def test_current_evaluations_are_not_compared_with_a_server_that_is_down(
    room: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _nothing() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        training = room.start()
        run = training.publish(tmp_path / "run")
        training.finish(timeout=0.1)
        capsys.readouterr()
        assert unrecorded_evaluations({run: {"top1_error": 3.0}}) == []
        (line,) = capsys.readouterr().err.splitlines()
        assert address in line
        assert "repeat evaluate-all later" in line


def test_sync_says_what_still_waits(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with _nothing() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        training = room.start()
        training.finish(timeout=0.1)
        training.crash()
        with pytest.raises(UserError, match=r"1 run was not sent: MLflow \(http://127"):
            sync(report=lambda text: None)
        assert len(room.waiting()) == 1


def test_what_waited_for_the_store_is_sent_by_sync_with_its_times(
    room: Any, tmp_path: Path
) -> None:
    """The database cannot be opened during training and evaluation, and can be at the sync."""
    room.database.rename(tmp_path / "elsewhere.db")
    room.database.mkdir()
    training = room.start().epochs(1)
    run = training.publish(tmp_path / "run")
    training.finish(timeout=0.1)
    (tmp_path / "evaluation").mkdir()
    record_evaluation(run, tmp_path / "evaluation", {"top1_error": 3.0})
    training.crash()
    assert len(room.waiting()) == 2

    room.database.rmdir()
    (tmp_path / "elsewhere.db").rename(room.database)
    lines: list[str] = []
    sync(report=lines.append)
    name = f"digits · cutmix · seed 0 · {training.folder.name}"  # never committed
    assert [line.partition(":")[0] for line in lines] == [name] * 2
    sync(report=lines.append)
    assert lines[-1] == "nothing to send"
    rows = room.query("SELECT step, timestamp FROM metrics WHERE key = 'loss/train'")
    assert rows == [(1, training.rows[0].time_ms)]
    assert room.statuses() == ["FINISHED"]
    assert room.epochs("results/test_top1") == [0]


def test_sync_ends_the_run_of_a_killed_training_which_may_go_on(room: Any) -> None:
    training = room.start().epochs(2)
    assert training.sent()
    training.crash()
    assert room.statuses() == ["RUNNING"]
    sync(report=lambda text: None)
    assert room.statuses() == ["KILLED"]
    training = room.start(checkpoint=2).epochs(1)
    assert training.sent()
    assert room.statuses() == ["RUNNING"]
    sync(report=lambda text: None)  # a running process's record is left alone
    assert room.statuses() == ["RUNNING"]
    training.finish()
    assert room.statuses() == ["FINISHED"]
    assert room.epochs() == [1, 2, 3]


def test_the_next_training_ends_the_run_of_a_killed_one(room: Any) -> None:
    killed = room.start(seed=0).epochs(2)
    assert killed.sent()
    killed.crash()
    training = room.start(seed=1)
    deadline = time.monotonic() + 20
    while "KILLED" not in room.statuses() and time.monotonic() < deadline:
        time.sleep(0.05)
    training.finish()
    assert room.statuses() == ["KILLED", "FINISHED"]


def test_starting_over_keeps_what_the_abandoned_run_has_not_sent(room: Any, tmp_path: Path) -> None:
    room.database.rename(tmp_path / "elsewhere.db")
    room.database.mkdir()
    abandoned = room.start().epochs(2)
    abandoned.crash()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", _read_only)
        with pytest.raises(UserError, match="cannot write"):  # the folder would be emptied next
            retire(abandoned.folder)
    assert list(room.unsent.rglob("tracking.json")) == [], "no record of half the files"
    retire(abandoned.folder)
    assert len(room.waiting()) == 1
    room.database.rmdir()
    (tmp_path / "elsewhere.db").rename(room.database)
    room.start().epochs(1).finish()
    sync(report=lambda text: None)
    assert sorted(room.statuses()) == ["FINISHED", "KILLED"]
    assert room.epochs() == [1, 1, 2]


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(
    room: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    monkeypatch.setattr("saliencymixplus.tracking.worker.FIRST_WAIT", 0.2)
    port = free_port()
    server = MLflowServer(room, port)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        training = room.start().epochs(1)
        assert training.sent()
        server.stop()
        training.epoch()
        training.publish(tmp_path / "run")
        assert not training.sent(5)
        server = MLflowServer(room, port)
        training.epoch()
        assert training.finish(timeout=60)
        assert room.epochs() == [1, 2, 3]
        assert room.statuses() == ["FINISHED"]
        assert any(name.endswith("weights/last.safetensors") for name in room.artifacts())
    finally:
        server.stop()
