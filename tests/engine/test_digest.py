"""Which source files invalidate a checkpoint: those that decide a weight, and no others."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saliencymixplus.engine.digest import changed_files, code_files, mixing_files
from tests.helpers import REPOSITORY


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's sources."""
    ignored = shutil.ignore_patterns("__pycache__")
    source = REPOSITORY / "src" / "saliencymixplus"
    return Path(shutil.copytree(source, tmp_path / "package", ignore=ignored))


def changed(package: Path, name: str, text: str, method: str = "cutmix") -> list[str]:
    assert (package / name).exists() or name.endswith("new.py")
    before = code_files(method, package=package)
    with (package / name).open("a", encoding="utf-8") as file:
        file.write(text)
    return changed_files(before, code_files(method, package=package))


@pytest.mark.parametrize(
    "name",
    [
        "progress.py",
        "runs/read.py",
        "pictures/palette.py",
        "tracking/describe.py",
        "comparison/plots.py",
        "datasets/download.py",
        "mixing/methods/new.py",
        "mixing/methods/mixup.py",
        "mixing/spectral.py",
    ],
)
def test_what_decides_no_weight_of_a_cutmix_run_refuses_nothing(package: Path, name: str) -> None:
    assert changed(package, name, "# a comment\n") == []


@pytest.mark.parametrize(
    "name",
    [
        "engine/optimizer.py",
        "loading/augment.py",
        "models/stem.py",
        "mixing/methods/cutmix.py",
        "mixing/boxes.py",
        "mixing/step.py",
    ],
)
def test_what_decides_a_weight_is_named(package: Path, name: str) -> None:
    assert changed(package, name, "CHANGED = 1\n") == [name]


@pytest.mark.parametrize(
    "line",
    [
        "from saliencymixplus.mixing.methods.fmix import highest",
        "from saliencymixplus.mixing.methods import fmix",
        "import saliencymixplus.mixing.methods.fmix",
        "from .fmix import highest",
        "from . import fmix",
        "def late():\n    from ..methods.fmix import highest",
    ],
)
def test_a_methods_imports_belong_to_it(package: Path, line: str) -> None:
    assert changed(package, "mixing/methods/fmix.py", "CHANGED = 1\n") == []
    with (package / "mixing/methods/cutmix.py").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    name = "mixing/methods/fmix.py"
    assert changed(package, name, "CHANGED = 2\n") == [name]


def test_digests_need_no_torch() -> None:
    code = (
        "import sys; from saliencymixplus.engine.digest import code_files; "
        "code_files('cutmix'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_methods_file_is_its_own() -> None:
    assert "mixing/methods/guidedsr.py" in mixing_files("guidedsr")
    assert "mixing/spectral.py" in mixing_files("guidedsr")
    assert {"mixing/mixer.py", "mixing/draws.py", "mixing/step.py"} <= set(mixing_files("none"))


def test_a_switch_depends_on_the_files_of_all_its_members() -> None:
    both = mixing_files("cutmix", "mixup")
    assert both == mixing_files("mixup") | mixing_files("cutmix")
    assert {"mixing/methods/cutmix.py", "mixing/methods/mixup.py"} <= set(both)


def test_added_and_removed_files_are_named(package: Path) -> None:
    before = code_files("cutmix", package=package)
    (package / "engine" / "new.py").write_text("", encoding="utf-8")
    (package / "engine" / "flops.py").unlink()
    now = code_files("cutmix", package=package)
    assert changed_files(before, now) == ["engine/flops.py", "engine/new.py"]


def test_a_checkpoint_of_an_earlier_release_names_no_files() -> None:
    assert changed_files("one digest of everything", code_files("cutmix")) == []
