"""A copy of this checkout in which DVC really runs, with an experiment that takes seconds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.helpers import REPOSITORY

BIN = Path(sys.executable).parent
SMALL: dict[str, Any] = {
    "methods": ["none"],
    "seeds": [0],
    "evaluation": {"parts": ["calibration"], "images": 20},
    "audit": {"images": 16},
}


class Clone:
    """A clone of this working tree, and commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What is committed and what is not yet: the tests judge the working tree.
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
        ).stdout
        for name in filter(None, names.decode().split("\0")):
            if (REPOSITORY / name).exists() and not name.startswith(("tests/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name, follow_symlinks=False)
        self.run("git", "init", "--quiet")

    def params(self, **changes: Any) -> None:
        """Merge ``changes`` into params.yaml, section by section."""
        yaml, path = YAML(), self.folder / "params.yaml"
        content = yaml.load(path)
        _merge(content, changes)
        yaml.dump(content, path)

    def edit(self, changes: dict[str, str]) -> None:
        """Replace texts in params.yaml."""
        path = self.folder / "params.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, f"params.yaml no longer says {old!r}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        self.run("git", "add", "--all")
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        self.run("git", *who, "commit", "--quiet", "--message", "State")

    def run(self, *command: str, fails: bool = False, cwd: Path | None = None) -> str:
        """Standard output of a command that must succeed, or all output of one that must fail."""
        environment = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str((cwd or self.folder) / "src"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        # Caches beside the sources must not make stages run again: they are written, too.
        unset = ("MLFLOW_TRACKING_URI", "SALIENCYMIXPLUS_STATE", "PYTHONDONTWRITEBYTECODE")
        for name in unset:
            environment.pop(name, None)
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert (done.returncode != 0) == fails, said
        return said if fails else done.stdout

    def changed(self) -> set[str]:
        """Stages and data files that are to be run again, by ``dvc status``.

        What decides a training is resolved first, as ``dvc repro`` does.
        """
        self.run("dvc", "repro", "--quiet", "resolve")
        return {*json.loads(self.run("dvc", "status", "--json"))}


def _merge(content: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value


@pytest.fixture(scope="session")
def new_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Clone]:
    """Make a clone; keyword arguments are merged into its params.yaml."""
    if shutil.which("dvc", path=f"{BIN}{os.pathsep}{os.environ['PATH']}") is None:
        pytest.skip("DVC is not installed")

    def new(**changes: Any) -> Clone:
        clone = Clone(tmp_path_factory.mktemp("a clone with spaces"))
        clone.params(**changes)
        clone.commit()
        return clone

    return new


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Settings of params.yaml with which the whole pipeline takes seconds."""
    training = {"epochs": 1, "warmup_epochs": 0, "sample_epochs": [], "weights_epochs": []}
    digits = {"data": {"image_size": 8}, "training": training}
    return {**SMALL, "experiments": ["digits"], "digits": digits}
