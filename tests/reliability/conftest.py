"""The command line in separate processes, in a copy of the repository with a small experiment."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file

REPOSITORY = Path(__file__).parents[2]
# Nothing of the user's own settings or stores is touched.
ENVIRONMENT = {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    "OMP_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "true",
    "LANG": "C.UTF-8",
}
# An experiment's runs have a parent, which holds their comparison.
TRAININGS = "name NOT LIKE '%: comparison'"
WITHOUT_CLOCK = ("seconds", "images_per_second")


@dataclass
class Place:
    """A folder with params.yaml and dvc.yaml, in which commands are run."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: object, **more: str) -> subprocess.Popen[str]:
        """Start a program; its output is kept."""
        return subprocess.Popen(
            [str(a) for a in arguments],
            cwd=self.root,
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: object, timeout: float = 200, **more: str) -> str:
        """Run a program that must succeed; returns what it said."""
        process = self.start(*arguments, **more)
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(process.communicate()[0][-3000:]) from None
        assert process.returncode == 0, said[-3000:]
        return said

    def train(self, *arguments: object) -> list[object]:
        """The command line of a training of the small digits."""
        how = ["--experiment", "digits", "--progress", "lines", "--device", "cpu"]
        return [sys.executable, "cli.py", "train", *how, *arguments]

    def change(self, **training: object) -> None:
        """Change the recipe in params.yaml."""
        path = self.root / "params.yaml"
        params = YAML(typ="safe").load(path)
        params["digits"]["training"] |= training
        YAML(typ="safe").dump(params, path)

    def processes(self, words: str = "") -> list[int]:
        """Processes that work in this place, with ``words`` in their command line (Linux)."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if (entry / "cwd").resolve().is_relative_to(self.root) and words in said:
                    found.append(int(entry.name))
            except OSError:  # it ended, or is another user's
                continue
        return found

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the MLflow database of this place."""
        with sqlite3.connect(self.root / "mlflow.db") as connection:
            return connection.execute(sql).fetchall()

    def tracked(self) -> dict[str, dict[int, float]]:
        """Run id to its training losses by epoch; each epoch must be there once."""
        rows = self.query("SELECT run_uuid, step, value FROM metrics WHERE key = 'loss/train'")
        doubled = [k for k, n in Counter((run, step) for run, step, _ in rows).items() if n > 1]
        assert not doubled
        found: dict[str, dict[int, float]] = {run: {} for (run,) in self.finished()}
        for run, step, value in rows:
            found[run][step] = value
        return found

    def finished(self) -> list[tuple[str]]:
        """The trainings' runs, all of which must have finished."""
        assert set(self.statuses()) <= {"FINISHED"}
        return self.query(f"SELECT run_uuid FROM runs WHERE {TRAININGS}")

    def statuses(self) -> list[str]:
        """The status of every training's run."""
        return [status for (status,) in self.query(f"SELECT status FROM runs WHERE {TRAININGS}")]

    def leftovers(self) -> list[Path]:
        """Half-written files anywhere, and resume state."""
        found = [p for p in self.root.rglob("*") if p.name.endswith((".part", ".old", ".pt"))]
        return [p for p in found if ".git" not in p.parts]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The working tree's program and settings in a folder of its own, with nothing prepared."""
    root = tmp_path / "place"
    root.mkdir()
    shutil.copy(REPOSITORY / "cli.py", root)
    shutil.copytree(REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        REPOSITORY / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache")
    )
    for name in ("dvc.yaml", "data.dvc", ".dvcignore", ".gitignore", ".gitattributes"):
        shutil.copy(REPOSITORY / name, root)
    params = YAML(typ="safe").load(REPOSITORY / "params.yaml")
    params |= {"experiments": ["digits"], "methods": ["cutmix"], "seeds": [0]}
    params["digits"]["data"]["image_size"] = 8
    params["digits"]["training"] |= {"epochs": 3, "warmup_epochs": 0, "sample_epochs": [1]}
    YAML(typ="safe").dump(params, root / "params.yaml")
    home = tmp_path / "home"
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k in ("SYSTEMROOT", "TMPDIR")}
    apart = {"HOME": str(home), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    return Place(root, {**kept, **ENVIRONMENT, **apart})


@pytest.fixture
def same_weights() -> Callable[[Path, Path], bool]:
    """Are the weights of two runs the same, bit for bit?"""

    def same(first: Path, second: Path) -> bool:
        paths = [sorted((run / "weights").glob("*.safetensors")) for run in (first, second)]
        assert [p.name for p in paths[0]] == [p.name for p in paths[1]]
        for a, b in zip(*paths, strict=True):
            left, right = load_file(a), load_file(b)
            if left.keys() != right.keys():
                return False
            if any(left[k].numpy().tobytes() != right[k].numpy().tobytes() for k in left):
                return False
        return True

    return same


@pytest.fixture
def history() -> Callable[[Path], list[list[str]]]:
    """The rows of a run's history.csv without its clock."""

    def read(run: Path) -> list[list[str]]:
        rows = [r.split(",") for r in (run / "history.csv").read_text().splitlines()]
        kept = [i for i, name in enumerate(rows[0]) if name not in WITHOUT_CLOCK]
        return [[row[i] for i in kept] for row in rows]

    return read


@pytest.fixture
def digest_of() -> Callable[[Path], str]:
    """The digest of a run's settings."""
    return lambda run: str(json.loads((run / "settings.json").read_text())["digest"])


@pytest.fixture
def pipeline(place: Place) -> Iterator[Place]:
    """``place`` as a Git repository with DVC, and no worker of a queue left at the end."""
    if shutil.which("dvc", path=place.environment["PATH"]) is None or shutil.which("git") is None:
        pytest.skip("needs dvc and git")
    for command in (
        ("init", "--quiet"),
        ("config", "user.name", "nobody"),
        ("config", "user.email", "nobody@example.org"),
        ("add", "."),
        ("commit", "--quiet", "-m", "start"),
    ):
        place.run("git", *command)
    yield place
    if (place.root / ".dvc" / "tmp" / "exps" / "celery").is_dir():
        process = place.start("dvc", "queue", "stop", "--kill")
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
    deadline = time.monotonic() + 20
    while (left := place.processes()) and time.monotonic() < deadline:
        time.sleep(0.5)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
