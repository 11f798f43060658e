"""Which source files refuse a checkpoint: those that decide a weight, and no others."""

import shutil
from pathlib import Path

import pytest

from saliencymixplus.engine.digest import changed_files, code_files
from tests.helpers import REPOSITORY


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's sources."""
    ignored = shutil.ignore_patterns("__pycache__")
    source = REPOSITORY / "src" / "saliencymixplus"
    return Path(shutil.copytree(source, tmp_path / "package", ignore=ignored))


def changed(package: Path, name: str, text: str) -> list[str]:
    before = code_files(package)
    with (package / name).open("a", encoding="utf-8") as file:
        file.write(text)
    return changed_files(before, code_files(package))


@pytest.mark.parametrize(
    "name",
    [
        "training/progress.py",
        "runs/read.py",
        "pictures/palette.py",
        "tracking/describe.py",
        "comparison/plots.py",
        "datasets/download.py",
    ],
)
def test_what_shows_or_reads_a_run_refuses_nothing(package: Path, name: str) -> None:
    assert changed(package, name, "# a comment\n") == []


@pytest.mark.parametrize(
    "name",
    ["engine/optimizer.py", "loading/augment.py", "models/stem.py", "mixing/methods/cutmix.py"],
)
def test_what_decides_a_weight_is_named(package: Path, name: str) -> None:
    assert changed(package, name, "CHANGED = 1\n") == [name]


def test_added_and_removed_files_are_named(package: Path) -> None:
    before = code_files(package)
    (package / "engine" / "new.py").write_text("", encoding="utf-8")
    (package / "engine" / "flops.py").unlink()
    assert changed_files(before, code_files(package)) == ["engine/flops.py", "engine/new.py"]


def test_a_checkpoint_of_an_earlier_release_names_no_files() -> None:
    assert changed_files("one digest of everything", code_files()) == []
