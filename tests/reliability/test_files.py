"""Killed writers: leftovers are never trusted, and are removed by the next writer."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from saliencymixplus import files
from saliencymixplus.datasets.fetch import fetch
from saliencymixplus.errors import UserError
from saliencymixplus.files import discard, write_atomically, write_text
from saliencymixplus.folders import whole_directory
from saliencymixplus.runs.checkpoint import CheckpointStore

# Writes the file or folder argv[1] as argv[2] says, and is killed at argv[3].
WRITER = """
import os, signal, sys
from pathlib import Path
from saliencymixplus.files import write_atomically
from saliencymixplus.folders import whole_directory
path, kind, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def fill(part):
    part.write_text("new")
    if point == "filled":
        die()
replace, calls = Path.replace, []
def dying(self, target):
    calls.append(1)
    if point == f"move {len(calls)}":
        die()
    return replace(self, target)
Path.replace = dying
if kind == "file":
    write_atomically(path, fill)
else:
    with whole_directory(path) as part:
        fill(part / "content")
"""


def killed_writer(path: Path, kind: str, point: str) -> None:
    command = [sys.executable, "-c", WRITER, str(path), kind, point]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL


def beside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if p != path)


def write(path: Path, kind: str, text: str) -> None:
    if kind == "file":
        write_text(path, text)
    else:
        with whole_directory(path) as part:
            (part / "content").write_text(text)


def read(path: Path) -> str:
    return (path if path.is_file() else path / "content").read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("point", ["filled", "move 1"])
@pytest.mark.parametrize("name", ["name", "ein Näme [1].x"])
def test_a_killed_writer_changes_nothing_and_the_next_sweeps(
    tmp_path: Path, kind: str, point: str, name: str
) -> None:
    path = tmp_path / "new folder" / name
    write(path, kind, "old")
    killed_writer(path, kind, point)
    assert read(path) == "old"
    assert len(beside(path)) == 1
    write(path, kind, "newer")
    assert read(path) == "newer"
    assert beside(path) == []


def test_killed_between_the_two_moves_the_old_folder_stays_until_a_new_one_is_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder"
    write(path, "folder", "old")
    killed_writer(path, "folder", "move 2")
    assert not path.exists()
    with pytest.raises(KeyError), whole_directory(path):
        raise KeyError
    (kept,) = tmp_path.iterdir()
    assert read(kept) == "old"
    write(path, "folder", "newer")
    assert read(path) == "newer"
    assert beside(path) == []


def test_only_what_nobody_writes_is_swept(tmp_path: Path) -> None:
    """Living writers, other machines' and other names' files stay; forgotten ones go."""
    here, path = files._machine(), tmp_path / "a"
    living, dead = os.getpid(), subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [
        f".a.{here}-{living}-01234567.part",
        f".a.{'0' * 8}-{dead.pid}-01234567.part",
        f".a.b.{here}-{dead.pid}-01234567.part",
        f"a.{here}-{dead.pid}-01234567.part",
        ".a.notes.part",
    ]
    gone = [f".a.{here}-{dead.pid}-01234567.part", f".a.{'1' * 8}-{living}-01234567.part"]
    for name in [*kept, *gone]:
        (tmp_path / name).write_text("half")
    week_ago = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / gone[1], (week_ago, week_ago))
    write_text(path, "whole")
    assert beside(path) == sorted(kept)


def test_four_writers_of_one_name_share_no_temporary_file(tmp_path: Path) -> None:
    """Each writes long enough to overlap; the end is one of the four, whole."""
    script = """
import sys, time
from pathlib import Path
from saliencymixplus.files import write_atomically
path, text = Path(sys.argv[1]), sys.argv[2] * 100_000
def slowly(part):
    with part.open("w") as file:
        for start in range(0, len(text), 10_000):
            file.write(text[start : start + 10_000]); file.flush(); time.sleep(0.01)
for _ in range(5):
    write_atomically(path, slowly)
"""
    path = tmp_path / "shared"
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), letter]) for letter in "abcd"
    ]
    assert [writer.wait(timeout=100) for writer in writers] == [0] * 4
    text = path.read_text()
    assert len(text) == 100_000
    assert len(set(text)) == 1
    assert beside(path) == []


def test_a_full_disk_is_named_and_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(part: Path) -> None:
        part.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*file: No space left on device"):
        write_atomically(path, full)
    assert path.read_text() == "old"
    assert beside(path) == []


def test_a_clean_up_that_fails_hides_neither_the_error_nor_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that turns read-only in the middle of writing."""
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: refuse(errno.EROFS))
    with pytest.raises(UserError, match=r"cannot write .*file: No space left on device"):
        write_atomically(tmp_path / "file", lambda _: refuse(errno.ENOSPC))
    monkeypatch.setattr("saliencymixplus.datasets.fetch.PAUSES", ())
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: refuse(errno.EIO))
    with pytest.raises(UserError, match=r"cannot fetch https://example.org/a: .*; try again"):
        fetch("https://example.org/a", tmp_path / "a", report=lambda _: None)
    store = CheckpointStore(tmp_path)
    for epoch in range(4):  # the oldest two should go
        store.save({"epoch": epoch}, epoch=epoch, step=0)
    assert store.newest() == 3


def refuse(code: int) -> None:
    raise OSError(code, os.strerror(code))


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs mount")
def test_a_disk_that_really_is_full(tmp_path: Path) -> None:
    """A file system of one megabyte, and two to write."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("not allowed to mount a file system")
    try:
        write_text(disk / "file", "old")
        for write_two in (
            lambda: write_text(disk / "file", "x" * 2**21),
            lambda: write(disk / "folder", "folder", "x" * 2**21),
        ):
            with pytest.raises(UserError, match="No space left on device"):
                write_two()
        assert [p.name for p in disk.iterdir()] == ["file"]
        assert (disk / "file").read_text() == "old"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_is_removed_whole_while_others_make_lock_files_in_it(tmp_path: Path) -> None:
    folder, done = tmp_path / "record", threading.Event()

    def intrude() -> None:
        while not done.is_set():
            with suppress(OSError):
                (folder / "tracking.lock").touch()

    intruder = threading.Thread(target=intrude)
    intruder.start()
    try:
        for _ in range(50):
            folder.mkdir()
            for number in range(50):
                (folder / str(number)).touch()
            discard(folder)
            assert not folder.exists()
    finally:
        done.set()
        intruder.join()
    discard(folder)  # which does not exist
    assert list(tmp_path.iterdir()) == []
