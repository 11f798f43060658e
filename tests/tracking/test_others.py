"""Run folders of somebody else, moved repositories, damaged records and failing disks."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, read_json, write_json
from saliencymixplus.tracking import record_evaluation
from saliencymixplus.tracking.sync import sync


@pytest.fixture
def finished(room: Any, tmp_path: Path) -> Path:
    """The folder of a finished and recorded run."""
    training = room.start().epochs(2)
    training.sample(1)
    run = training.publish(tmp_path / "run")
    training.finish()
    (tmp_path / "evaluation").mkdir()
    return Path(run)


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


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0, published before MLflow answered", "0.2.0"])
def test_a_clone_gets_the_whole_run_that_it_pulled(
    room: Any, finished: Path, tmp_path: Path, migrated: Path, version: str
) -> None:
    """The clone's store is another: the run's id means nothing there."""
    if version != "0.2.0":
        written = read_json(finished / "tracking.json")
        kept = {k: written[k] for k in ("tracker", "experiment", "run_name", "attempt", "created")}
        run_id = None if "before" in version else room.runs()[0][0]
        write_json(finished / "tracking.json", {**kept, "uri": written["store"], "run_id": run_id})
    shutil.copyfile(migrated, room.database)
    shutil.rmtree(room.folder / "mlartifacts")
    for error in (9.0, 8.0):
        record_evaluation(finished, tmp_path / "evaluation", {"top1_error": error})
    ((run_id, status),) = room.runs()
    found = MlflowClient(f"sqlite:///{room.database}").get_run(run_id)
    assert status == "FINISHED"
    assert found.data.params["model"] == "resnet8"
    assert found.data.metrics["results/test_top1"] == 8.0
    assert room.epochs() == [1, 2]
    assert {"settings.json", "history.csv", "weights/last.safetensors"} <= set(room.artifacts())
    assert sum(name.endswith(".png") for name in room.artifacts()) == 1


@pytest.mark.parametrize("old_place", ["gone", "there"])
def test_artifacts_follow_a_moved_or_copied_repository(
    room: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_place: str
) -> None:
    new = tmp_path / "new place, 1%"
    shutil.copytree(room.folder, new)
    if old_place == "gone":
        shutil.rmtree(room.folder)
        room.folder.touch()  # it cannot be made again
    before = {path for path in room.folder.rglob("*") if path.suffix != ".lock"}
    monkeypatch.chdir(new)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(new / "state"))
    moved = type(room)(new)
    training = moved.start(seed=1).epochs(1)
    training.publish(tmp_path / "run 2")
    assert training.finish()
    assert {path for path in room.folder.rglob("*") if path.suffix != ".lock"} == before
    client = MlflowClient(f"sqlite:///{moved.database}")
    for run_id, status in moved.runs():
        assert status == "FINISHED"
        assert "settings.json" in {file.path for file in client.list_artifacts(run_id)}
    assert sum(path.name == "last.safetensors" for path in new.rglob("*")) == 2


def test_an_artifact_location_of_the_users_own_stays(room: Any, tmp_path: Path) -> None:
    location = (tmp_path / "elsewhere").as_uri()
    MlflowClient(f"sqlite:///{room.database}").create_experiment("digits", location)
    training = room.start().epochs(1)
    training.publish(tmp_path / "run")
    assert training.finish()
    assert list((tmp_path / "elsewhere").rglob("last.safetensors"))


def test_artifacts_that_cannot_be_written_hold_up_nothing_else(room: Any, tmp_path: Path) -> None:
    (room.folder / "mlartifacts").touch()
    training = room.start().epochs(2)
    training.publish(tmp_path / "run")
    assert training.finish(timeout=3)
    assert room.statuses() == ["FINISHED"]
    assert room.epochs() == [1, 2]
    assert len(room.waiting()) == 1
    (room.folder / "mlartifacts").unlink()
    sync(print)
    assert "weights/last.safetensors" in room.artifacts()


@pytest.mark.parametrize("content", ["nonsense", "[]", '{"attempt": "q"}'])
def test_a_damaged_record_of_a_dead_run_stops_nobody(
    room: Any, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    for root in (room.unsent / "dead", room.state / "runs" / "dead"):
        root.mkdir(parents=True)
        (root / "tracking.json").write_text(content)
    room.start().epochs(1).finish()
    lines: list[str] = []
    sync(lines.append)
    assert len([line for line in lines if "damaged" in line]) in (0, 2)  # or by the training
    assert list(room.state.rglob("tracking.json")) == []
    assert len(list(room.state.rglob("tracking.json.damaged"))) == 2
    assert room.epochs() == [1]


def test_a_record_that_its_own_process_removes_meanwhile_is_no_failure(room: Any) -> None:
    first, second = room.start(seed=0).epochs(1), room.start(seed=1).epochs(1)
    for training in (first, second):
        training.crash()
        assert training.tracker.finish("KILLED", timeout=0) is False
    removed: list[str] = []

    def report(line: str) -> None:
        removed.append(line)
        for training in (first, second):
            discard(training.folder)

    sync(report)
    assert len(removed) == 1  # of the first, which was sent before
    assert list((room.state / "runs").iterdir()) == []


def test_a_record_that_vanishes_while_sync_looks_for_it_is_no_failure(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = room.start().epochs(1)
    training.crash()
    card = training.folder / "tracking.json"
    usual, exists = Path.stat, Path.exists

    def stat(path: Path, **named: Any) -> Any:
        if path == card:
            raise FileNotFoundError(errno.ENOENT, "gone", str(path))
        return usual(path, **named)

    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda path, **_: path == card or exists(path))
        patch.setattr(Path, "stat", stat)
        sync(lines.append)
    assert lines == ["nothing to send"]


def test_a_disk_that_does_not_say_whether_a_record_is_there_costs_one_line(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = Path.is_file

    def is_file(path: Path) -> bool:
        if path.name == "tracking.json":
            raise OSError(errno.EIO, "Input/output error")
        return usual(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_file", is_file)
        training = room.start().epochs(1)
        training.tracker.worker.join(20)
    training.finish()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "Input/output error" in said
    assert len(room.waiting()) == 1
    sync(lambda _: None)
    assert room.statuses() == ["FINISHED"]
    assert room.epochs() == [1]


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


def test_a_record_that_is_being_written_is_not_sent_yet(room: Any) -> None:
    part = room.unsent / ".new.12345678-1-12345678.part"
    part.mkdir(parents=True)
    (part / "tracking.json").write_text("half")
    lines: list[str] = []
    sync(lines.append)
    assert lines == ["nothing to send"]


def test_a_damaged_history_of_a_dead_run_stops_nobody(room: Any) -> None:
    damaged, whole = room.start(seed=0).epochs(1), room.start(seed=1).epochs(1)
    for training in (damaged, whole):
        training.crash()
        assert training.tracker.finish("KILLED", timeout=0) is False
    (damaged.folder / "history.csv").write_text("epoch\nnonsense\n")
    lines: list[str] = []
    sync(lines.append)
    assert len([line for line in lines if "set aside" in line]) == 1
    assert room.statuses().count("KILLED") >= 1
    sync(lines.append)
    assert len([line for line in lines if "set aside" in line]) == 1


def test_a_damaged_tracking_json_of_ones_own_costs_one_line(
    room: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    training = room.start().epochs(1)
    training.crash()
    (training.folder / "tracking.json").write_text("nonsense")
    room.start(checkpoint=1).epochs(1).finish()
    assert capsys.readouterr().err.count("set aside") == 1
    assert sorted(set(room.epochs())) == [1, 2]


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_fails_at_the_end_costs_lines_and_no_traceback(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    """The error paths do not fail themselves, and after the disk recovers all is sent."""
    training = room.start().epochs(2)
    run = training.publish(room.folder / "run")

    def fails(*arguments: Any, **named: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        for name in ("fsync", "truncate", "link", "replace", "rename"):
            patch.setattr(os, name, fails)
        patch.setattr(Path, "replace", fails)
        training.tracker.publish(run)
        training.finish("FAILED")
    assert "Traceback" not in capsys.readouterr().err
    room.start(checkpoint=2).epochs(1).finish()
    assert room.epochs() == [1, 2, 3]
    assert room.statuses() == ["FINISHED"]


def test_a_published_run_whose_end_could_not_be_written_is_finished(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = room.start().epochs(1)
    training.publish(room.folder / "run")
    training.crash()
    with monkeypatch.context() as patch:
        patch.setattr("saliencymixplus.tracking.tracker.write_card", _no_space)
        training.finish(timeout=0)
    sync(lambda _: None)
    assert room.statuses() == ["FINISHED"]
    assert room.waiting() == []


def _no_space(*_: Any) -> None:
    raise UserError("No space left on device")


def test_a_file_that_is_still_being_written_is_not_sent(room: Any) -> None:
    training = room.start().epochs(1)
    part = training.folder / "artifacts" / ".summary.json.0-1-2.part"
    part.write_text("{")
    training.publish(room.folder / "run")
    assert training.finish()
    assert "summary.json" in room.artifacts()
    assert not any(name.endswith(".part") for name in room.artifacts())


def test_a_terminal_without_the_letters_stops_nothing(room: Any) -> None:
    """MLflow itself prints an emoji at the end of a run; our paths and names have letters too."""
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


def test_a_database_that_is_none_costs_one_line(
    room: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    room.database.write_text("nonsense " * 1000)
    room.start().epochs(1).finish(timeout=2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("tracking: MLflow (") for line in said)
    assert len(room.waiting()) == 1
    assert json.loads((room.unsent / room.waiting()[0] / "tracking.json").read_text())
