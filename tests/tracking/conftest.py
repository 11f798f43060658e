"""A real SQLite store per test, copied from one that was migrated once, and runs to record."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")

from saliencymixplus.settings import MixSettings, ModelSettings, RunSettings, TrainingSettings
from saliencymixplus.settings.schema import DownloadSettings
from saliencymixplus.tracking import Tracker, mlflow_library, mlflow_store, open_tracker


class Room:
    """A repository of its own, with its store and state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.state = folder / "state"

    def settings(self, mix: str = "cutmix", seed: int = 0, **changes: Any) -> RunSettings:
        """Of a run on digits."""
        values: dict[str, Any] = {
            "experiment": "digits",
            "download": DownloadSettings(source="digits"),
            "model": ModelSettings(name="resnet8"),
            "training": TrainingSettings(epochs=3),
            "mix": MixSettings(name=mix, method=mix, options={}),
            "seed": seed,
        }
        return RunSettings(**values | changes)

    def start(self, seed: int = 0, resume: bool = True, **changes: Any) -> Tracker:
        """A tracker for the run of this seed, as a trainer opens it."""
        return open_tracker(
            "mlflow",
            run=self.settings(seed=seed, **changes),
            identity=f"digest{seed}",
            data={"digest": "d1617", "name": "digits", "classes": ["0", "1"]},
            state=self.state / "runs" / f"digest{seed}",
            resume=resume,
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the store's database."""
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def epochs(self, key: str = "train_loss") -> list[int]:
        """The steps of a metric, over all runs, each as often as it is stored."""
        rows = self.query(f"SELECT step FROM metrics WHERE key = '{key}'")
        return sorted(step for (step,) in rows)

    def runs(self) -> list[tuple[Any, ...]]:
        """Id and status of every run."""
        return self.query("SELECT run_uuid, status FROM runs")

    def artifacts(self) -> dict[str, Path]:
        """Every stored file, by its path below the run's or model's artifact folder."""
        root = self.folder / "mlartifacts"
        files = [path for path in root.rglob("*") if path.is_file()]
        return {str(path).partition("/artifacts/")[2]: path for path in files}


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has created: that takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    mlflow_library.require_mlflow()
    mlflow_store.Store(f"sqlite:///{path}")
    return path


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the caller's, and no sampling of the machine unless a test wants it."""
    for name in [n for n in os.environ if n.startswith(("MLFLOW_", "DVC_", "SALIENCYMIXPLUS_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("saliencymixplus.tracking.system._FIRST", 3600.0)
    monkeypatch.setattr("saliencymixplus.tracking.system._LONGEST", 3600.0)


@pytest.fixture
def room(tmp_path: Path, migrated: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A fresh repository with an empty, migrated default store."""
    folder = tmp_path / "the repository, ü"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(folder / "state"))
    shutil.copyfile(migrated, folder / "mlflow.db")
    return Room(folder)


@pytest.fixture
def crash() -> Callable[[Any], None]:
    """End a tracker the way a killed process does: nothing is said, sent or marked."""

    def end(tracker: Any) -> None:
        tracker._sender.stop()
        tracker._sampler.stop()

    return end
