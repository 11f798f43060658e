"""Output folders are reserved at the start; files added meanwhile are kept."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from saliencymixplus import files
from saliencymixplus.errors import UserError
from saliencymixplus.files import beside, write_atomically, write_text
from saliencymixplus.folders import reserved, whole_directory
from saliencymixplus.locks import locked
from saliencymixplus.outputs import check_folder
from tests.reliability.folder_contents import RUN, content, fill


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    real = fill(tmp_path / "disk" / "run", **{"old.txt": "old"})
    link = tmp_path / "run"
    link.symlink_to(real)
    for text in ("1", "2"):
        with whole_directory(link) as part:
            fill(part, **{"new.txt": text})
    assert link.is_symlink()
    assert content(real) == {"new.txt": "2"}
    assert [p.name for p in real.parent.iterdir()] == ["run"]


def test_a_link_to_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    link = tmp_path / "run"
    link.symlink_to(tmp_path / "disk" / "run")
    with whole_directory(link) as part:
        fill(part, **{"new.txt": "1"})
    assert content(tmp_path / "disk" / "run") == {"new.txt": "1"}
    assert link.is_symlink()


@pytest.mark.parametrize("existed", [False, True])
def test_what_appeared_meanwhile_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], existed: bool
) -> None:
    path = tmp_path / "run"
    if existed:
        fill(path, **{"settings.json": "old"})
    with whole_directory(path) as part:
        fill(path / "sub", **{"notes.txt": "only copy"})
        (path / "sub" / "link.txt").symlink_to("notes.txt")
        fill(part, **{"settings.json": "new"})
    expected = {"settings.json": "new", "sub/notes.txt": "only copy", "sub/link.txt": "only copy"}
    assert content(path) == expected
    assert (path / "sub" / "link.txt").is_symlink()
    assert "notes.txt" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["list", "copy", "move"])
def test_a_folder_whose_replacement_fails_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The disk fails after the old folder was moved away."""
    path = fill(tmp_path / "run", **{"settings.json": "old"})
    usual = Path.replace

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replace(source: Path, target: Path) -> Path:
        return full() if source.suffix == ".part" else usual(source, target)  # type: ignore

    def replaced() -> None:
        with whole_directory(path) as part:
            fill(part, **{"settings.json": "new"})
            fill(path, **{"notes.txt": "only copy"})
            if step == "move":
                monkeypatch.setattr(Path, "replace", replace)
            else:
                owner, name = {"list": (os, "walk"), "copy": (shutil, "copy2")}[step]
                monkeypatch.setattr(owner, name, full)

    with pytest.raises(UserError, match=r"cannot write .*run: No space left on device"):
        replaced()
    assert content(path) == {"settings.json": "old", "notes.txt": "only copy"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("existed", [False, True])
def test_the_start_is_when_the_folder_was_checked(tmp_path: Path, existed: bool) -> None:
    """A command checks it first, works for hours, and only then reserves it."""
    path = tmp_path / "run"
    if existed:
        fill(path, **{"settings.json": "old", "old.txt": "old"})
    check_folder(path, RUN)
    fill(path, **{"notes.txt": "only copy"})
    for text in ("new", "newer"):
        with whole_directory(path) as part:
            fill(part, **{"settings.json": text})
        kept = {"notes.txt": "only copy"} if text == "new" else {}
        assert content(path) == {"settings.json": text} | kept


@pytest.mark.parametrize("existed", [False, True])
def test_what_has_a_name_of_the_result_keeps_its_place(tmp_path: Path, existed: bool) -> None:
    path = tmp_path / "run"
    if existed:
        fill(path, **{"settings.json": "old"})
    with reserved(path) as folder:
        fill(path, **{"settings.json": "another run's", "notes.txt": "only copy"})
        fill(folder.part, **{"settings.json": "new"})
        with pytest.raises(
            UserError, match=r"settings\.json\): it was left unchanged.* is in .*run-2"
        ):
            folder.publish()
    assert content(path) == {"settings.json": "another run's", "notes.txt": "only copy"}
    assert content(tmp_path / "run-2") == {"settings.json": "new"}


def test_a_file_in_the_folders_place_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with reserved(path) as folder:
        path.write_text("mine")
        fill(folder.part, **{"new.txt": "new"})
        with pytest.raises(UserError, match=r"the result is in .*run-2"):
            folder.publish()
    assert path.read_text() == "mine"
    assert content(tmp_path / "run-2") == {"new.txt": "new"}


def test_a_block_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        with whole_directory(path) as part:
            fill(part, **{"new.txt": "new"})
            raise KeyError

    for path in (tmp_path / "new" / "er" / "run", fill(tmp_path / "old", **{"a.txt": "a"})):
        with pytest.raises(KeyError):
            fails(path)
    assert content(tmp_path) == {"old/a.txt": "a"}
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


def test_an_error_of_the_work_is_not_one_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), reserved(tmp_path / "run"):
        raise ConnectionResetError


HOLD = """
import sys
from pathlib import Path
from saliencymixplus.folders import reserved
with reserved(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    path = tmp_path / "run [1]"
    command = [sys.executable, "-c", HOLD, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"another process \\({process.pid}\\) is writing"):
            reserved(path).__enter__()
        assert len(list(tmp_path.iterdir())) == 1, "the other's stays"
        process.kill()
    with reserved(path), pytest.raises(UserError, match="another process"):
        reserved(path).__enter__()  # of this process neither
    assert not list(tmp_path.iterdir())


def test_a_dead_writer_with_this_process_number_is_no_writer(tmp_path: Path) -> None:
    """PIDs repeat when a container restarts."""
    left = files.beside(tmp_path / "run")
    fill(left, **{"half.txt": "half"})
    with whole_directory(tmp_path / "run") as part:
        fill(part, **{"new.txt": "new"})
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path, mask: int, mode: int) -> None:
    def private(path: Path) -> None:
        path.write_text("x")
        path.chmod(0o600)

    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "private", private)
        write_text(tmp_path / "text", "x")
    finally:
        os.umask(before)
    for name in ("private", "text"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for waiting in (None, print):
        with pytest.raises(UserError) as caught:
            locked(tmp_path / "lock", "another process is at it", waiting=waiting).__enter__()
        for part in (str(tmp_path / "lock"), os.strerror(number), "SALIENCYMIXPLUS_STATE"):
            assert part in str(caught.value)


def test_waiting_for_a_lock_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / "lock", "busy"):
            held.set()
            let_go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    with pytest.raises(UserError, match=r"^busy \(it holds .*lock\): wait for it"):
        locked(tmp_path / "lock", "busy").__enter__()

    def waiting(text: str) -> None:
        said.append(text)
        let_go.set()

    with locked(tmp_path / "lock", "busy", waiting=waiting):
        assert len(said) == 1
    thread.join()


def test_a_folder_whose_writer_was_killed_between_two_renames_is_replaced(tmp_path: Path) -> None:
    """Its files count as there from the start, not as added meanwhile."""
    place = tmp_path / "run"
    place.mkdir()
    (place / "settings.json").write_text("old")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    moved = beside(place).with_suffix(".old")
    place.rename(moved.with_name(moved.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")))
    check_folder(place, RUN)
    with reserved(place, RUN) as folder:
        (folder.part / "settings.json").write_text("new")
        folder.publish()
    assert (place / "settings.json").read_text() == "new"
    assert list(tmp_path.iterdir()) == [place]
