"""A command replaces only what the same command wrote, and refuses other places at the start."""

import os
from pathlib import Path

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.folders import reserved
from saliencymixplus.outputs import check_file, check_files, check_folder
from tests.reliability.folder_contents import RUN, content, fill


@pytest.mark.parametrize("place", ["/proc/run", "/proc/1/x/run", "/sys/run", "/sys/kernel/x/run"])
def test_a_place_that_nobody_can_write_is_refused_at_the_start(place: str) -> None:
    if not Path(place).parents[-2].is_dir():
        pytest.skip("not on this system")
    with pytest.raises(UserError, match=f"cannot write {place}"):
        check_folder(Path(place), RUN)
    with pytest.raises(UserError, match=f"cannot write {place}"):
        reserved(Path(place)).__enter__()


def test_a_mount_point_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "run")
    with pytest.raises(UserError, match="is a mount point"):
        check_folder(tmp_path / "run", RUN)
    check_folder(tmp_path / "run" / "below", RUN)


@pytest.mark.parametrize(
    ("others", "refused"),
    [
        ({}, ""),
        ({"settings.json": "old", "weights/last.pt": "1", "old.txt": "1"}, ""),
        ({"settings.json": "old", ".gitignore": "/x", "weights/.DS_Store": "1"}, ""),
        ({".DS_Store": "1"}, ""),
        ({"settings.json": "of another program"}, "holds other files"),
        ({"settings.json": ""}, "holds other files"),
        ({"old.txt": "old"}, "holds other files"),
        ({"settings.json": "old", "notes.txt": "mine"}, "holds notes.txt"),
        ({"settings.json": "old", "weights/mine/best.pkl": "1"}, "holds weights/mine/best.pkl"),
    ],
)
def test_only_a_folder_of_the_same_command_is_replaced(
    tmp_path: Path, others: dict[str, str], refused: str
) -> None:
    for name, text in others.items():
        fill((tmp_path / "run" / name).parent, **{Path(name).name: text})
    before = content(tmp_path)
    if refused:
        with pytest.raises(UserError, match=f"run {refused}"):
            check_folder(tmp_path / "run", RUN)
        with pytest.raises(UserError, match=f"run {refused}"):
            reserved(tmp_path / "run", RUN).__enter__()
    else:
        check_folder(tmp_path / "run", RUN)
    assert content(tmp_path) == before


def test_the_root_of_the_disk_is_not_replaced() -> None:
    with pytest.raises(UserError, match=r"mount point|read-only for you"):
        check_folder(Path("/"), RUN)


def test_a_link_of_the_users_is_not_deleted(tmp_path: Path) -> None:
    run = fill(tmp_path / "run", **{"settings.json": "old"})
    (run / "album").symlink_to(fill(tmp_path / "photos"))
    with pytest.raises(UserError, match="holds album"):
        check_folder(run, RUN)


def test_files_among_others_replace_only_those_of_the_same_command(tmp_path: Path) -> None:
    folder = fill(tmp_path / "paper", **{"thesis.txt": "mine"})
    check_files(folder, RUN)
    fill(folder, **{"old.txt": "mine"})
    with pytest.raises(UserError, match=r"paper/old\.txt exists and was not written"):
        check_files(folder, RUN)
    fill(folder, **{"settings.json": "old"})
    check_files(folder, RUN)


def test_a_file_replaces_only_one_of_the_same_command(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    check_file(file, "a,b")
    for text in ("", "b,a\n1,2\n"):
        file.write_text(text)
        with pytest.raises(UserError, match=r"table\.csv exists and was not written"):
            check_file(file, "a,b")
    file.write_text("a,b\n1,2\n")
    check_file(file, "a,b")
    with pytest.raises(UserError, match="is a folder"):
        check_file(tmp_path, "a,b")
    with pytest.raises(UserError, match="not a regular file"):
        check_file(Path("/dev/null"), "a,b")
    (tmp_path / "link.csv").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"link\.csv exists"):
        check_file(tmp_path / "link.csv", "a,b")
