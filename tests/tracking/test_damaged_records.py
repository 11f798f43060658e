"""Damaged or vanishing records and failing disks are reported in one line."""

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.files import discard
from saliencymixplus.tracking.sync import sync


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


def test_a_disk_without_locks_is_named_and_no_record_set_aside(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Marker files instead, which filelock falls back to, would outlive a killed process."""

    def flock(handle: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name != "tracking.lock":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        room.start().epochs(1).finish(timeout=1)
        said = capsys.readouterr().err
        assert "mlflow.db.lock: its file system has no locks" in said
        assert "MLFLOW_TRACKING_URI=sqlite:///FILE" in said
        with pytest.raises(UserError, match=r"1 run was not sent: .* no locks"):
            sync(lambda _: None)
    assert len(room.waiting()) == 1
    sync(lambda _: None)
    assert room.statuses() == ["FINISHED"]
    assert room.epochs() == [1]


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
        patch.setattr("saliencymixplus.tracking.record.write_card", _no_space)
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


def test_a_clock_that_was_set_back_loses_no_epoch_and_gives_no_negative_duration(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = room.start().epochs(2)
    usual, usual_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: usual() - 86400)
    monkeypatch.setattr(time, "time_ns", lambda: usual_ns() - 86400 * 10**9)
    training.epochs(2).finish()
    assert room.epochs() == [1, 2, 3, 4]
    ((duration,),) = room.query(
        "SELECT end_time - start_time FROM runs WHERE name NOT LIKE '%: comparison'"
    )
    assert duration >= 0
