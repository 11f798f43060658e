"""Other people's run folders, moved repositories, damaged records and failing disks."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.files import discard, read_json, write_json
from saliencymixplus.tracking import record_evaluation
from saliencymixplus.tracking.sync import sync


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the credentials that it was sent."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(str(self.headers.get("Authorization")))
            self.send_response(404)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def _changed(run: Path, **values: Any) -> None:
    write_json(run / "tracking.json", read_json(run / "tracking.json") | values)


def test_a_run_folder_does_not_choose_the_server(
    room: Any,
    finished: Path,
    listener: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, heard = listener
    _changed(finished, store=address, run_id="x")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "SECRET")
    record_evaluation(finished, finished.parent / "evaluation", {"top1_error": 1.0})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    record_evaluation(finished, finished.parent / "evaluation", {"top1_error": 1.0})
    assert heard == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(f"was recorded in {address}" in line for line in lines)
    assert room.epochs("results/test_top1") == []
    assert room.waiting() == []


def test_the_way_back_to_the_repositorys_own_store_is_said(
    room: Any,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _changed(finished, store="default")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    record_evaluation(finished, finished.parent / "evaluation", {"top1_error": 1.0})
    said = capsys.readouterr().err
    assert "was recorded in the repository's mlflow.db, which is not the configured store" in said
    assert "unset MLFLOW_TRACKING_URI to record there" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attempt", "../../outside"),
        ("attempt", "a/b"),
        ("attempt", "x" * 300),
        ("attempt", None),
        ("experiment", "../outside"),
        ("experiment", "a' OR 1=1"),
        ("store", "sqlite:////outside.db"),
        ("store", {"a": [1]}),
        ("created", 10**30),
        ("created", "soon"),
        ("params", {"a": 1}),
        ("params", [[[]]]),
        ("run_name", "x" * 10**5),
    ],
)
def test_a_damaged_or_hostile_tracking_json_costs_one_line(
    room: Any, finished: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    _changed(finished, **{key: value})
    before = {path for path in room.folder.parent.rglob("*") if path.is_file()}
    record_evaluation(finished, finished.parent / "evaluation", {"top1_error": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracking: not recorded in MLflow: ")
    assert {path for path in room.folder.parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ["", "[]", '"x"', "{", "[" * 100_000, '{"created": ' + "9" * 5000])
def test_a_tracking_json_that_is_none_costs_one_line(
    room: Any, finished: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (finished / "tracking.json").write_text(text)
    record_evaluation(finished, finished.parent / "evaluation", {"top1_error": 1.0})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tracking: not recorded in MLflow: ")


def test_what_a_disk_kept_of_a_removed_folder_goes_with_the_next_sync(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = room.start().epochs(1)
    training.crash()
    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", _no_removal)
        patch.setattr("os.getpid", lambda: 2**22 + 1)  # no process has this number
        discard(training.folder)
    (left,) = (room.state / "runs").iterdir()
    assert left.suffix == ".old"
    sync(lambda _: None)
    assert list((room.state / "runs").iterdir()) == []


def _no_removal(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.slow
def test_a_terminal_without_the_letters_stops_nothing(room: Any) -> None:
    """MLflow prints an emoji at the end of a run; our paths and names may not be ASCII, either."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from saliencymixplus.commands.app import main;"
        "from tests.tracking.conftest import Room, Training;"
        "sys.argv = ['cli.py', '--help']\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "training = Room(Path.cwd()).start().epochs(1); training.finish();"
        "print(training.tracker.url_hint, 'ü é 🏃')"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    del environment["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[2])],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert room.statuses() == ["FINISHED"]
