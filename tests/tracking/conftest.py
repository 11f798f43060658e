"""A real SQLite store for each test, copied from one that is migrated once, and test runs."""

import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mlflow")


import pytest

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.files import write_json
from saliencymixplus.runs.history import read_history, write_history
from saliencymixplus.settings import (
    DownloadSettings,
    MixSettings,
    ModelSettings,
    RunSettings,
    TrainingSettings,
)
from saliencymixplus.tracking import Tracker, mlflow_library, mlflow_store, open_tracker, stores


class Training:
    """What a trainer does to its state folder, and tells its tracker."""

    def __init__(self, folder: Path, run: RunSettings, checkpoint: int | None = None) -> None:
        """Start; or resume after the epoch ``checkpoint``, if the folder has a history."""
        self.folder, self.run = folder, run
        data = {"digest": "d1617", "name": "digits", "classes": ["0", "1"]}
        settings = {"settings": run.model_dump(mode="json"), "digest": folder.name, "data": data}
        write_json(folder / "settings.json", settings)
        path = folder / "history.csv"
        self.rows = read_history(path)[:checkpoint] if path.exists() else []
        write_history(path, self.rows, times=True)
        self.tracker: Tracker = open_tracker(
            "mlflow", run=run, identity=folder.name, data=data, folder=folder
        )

    def epoch(self, loss: float | None = None) -> None:
        """Finish an epoch."""
        epoch = len(self.rows) + 1
        row = EpochRow(
            epoch=epoch,
            learning_rate=0.1,
            train_loss=1 / epoch if loss is None else loss,
            test_top1_error=50 / epoch,
            seconds=time.perf_counter(),
            images_per_second=1000.0,
            forward_backward_passes=10.0,
            time_ms=time.time_ns() // 1_000_000,
        )
        self.rows.append(row)
        write_history(self.folder / "history.csv", self.rows, times=True)
        self.tracker.update()

    def epochs(self, count: int) -> "Training":
        """Finish several epochs."""
        for _ in range(count):
            self.epoch()
        return self

    def sample(self, epoch: int) -> None:
        """Draw a grid of samples."""
        path = self.folder / "samples" / f"epoch_{epoch:04d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((20, 300, 3), epoch % 256, np.uint8)).save(path)
        self.tracker.update()

    def publish(self, output: Path) -> Path:
        """Write the finished run's folder and hand it to the tracker."""
        (output / "weights").mkdir(parents=True)
        shutil.copyfile(self.folder / "settings.json", output / "settings.json")
        write_history(output / "history.csv", self.rows)
        write_json(output / "summary.json", {"epochs": len(self.rows)})
        write_json(output / "tracking.json", self.tracker.reference)
        (output / "weights" / "last.safetensors").write_bytes(b"weights")
        if (self.folder / "samples").exists():
            shutil.copytree(self.folder / "samples", output / "samples")
        self.tracker.publish(output)
        return output

    def finish(self, status: Any = "FINISHED", timeout: float | None = None) -> bool:
        """End, as the trainer does: the state folder goes if it may."""
        done = self.tracker.finish(status, timeout)
        if done and status == "FINISHED":
            shutil.rmtree(self.folder, ignore_errors=True)
        return done

    def sent(self, timeout: float = 30) -> bool:
        """Wait until the store has everything."""
        worker: Any = self.tracker
        return bool(worker.worker.drain(timeout))

    def crash(self) -> None:
        """Stop as a killed process does: nothing is said, sent or noted."""
        tracker: Any = self.tracker
        tracker.worker.stop()
        tracker.worker.join()
        if tracker.sampler:
            tracker.sampler.stop()


class Room:
    """A repository of its own, with its store and state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "mlflow.db"
        self.state = folder / "state"
        self.unsent = self.state / "unsent"

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

    def start(self, seed: int = 0, checkpoint: int | None = None, **changes: Any) -> Training:
        """Train the run of this seed, or resume it after the epoch ``checkpoint``."""
        folder = self.state / "runs" / f"digest{seed}"
        return Training(folder, self.settings(seed=seed, **changes), checkpoint)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the store's database."""
        connection = sqlite3.connect(self.database, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def epochs(self, key: str = "loss/train") -> list[int]:
        """The steps of a metric, over all runs, each as often as it is stored."""
        rows = self.query(f"SELECT step FROM metrics WHERE key = '{key}'")
        return sorted(step for (step,) in rows)

    def runs(self) -> list[tuple[Any, ...]]:
        """Id and status of every training's run."""
        return self.query(
            "SELECT run_uuid, status FROM runs WHERE name NOT LIKE '%: comparison' "
            "ORDER BY start_time"
        )

    def statuses(self) -> list[str]:
        """The status of every run, the oldest first."""
        return [status for _, status in self.runs()]

    def artifacts(self) -> dict[str, Path]:
        """Every stored file, by its path below the run's or model's artifact folder."""
        root = self.folder / "mlartifacts"
        files = [path for path in root.rglob("*") if path.is_file()]
        return {str(path).partition("/artifacts/")[2]: path for path in files}

    def waiting(self) -> list[str]:
        """The names of the records that wait for `sync`."""
        return sorted(path.name for path in self.unsent.glob("*")) if self.unsent.exists() else []


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has created: that takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    mlflow_library.require_mlflow()
    mlflow_store.Store(stores.Address("template", f"sqlite:///{path}", path))
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
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 3600.0)
    monkeypatch.setattr("saliencymixplus.tracking.system.LONGEST", 3600.0)


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
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once what failed."""
    monkeypatch.setattr("saliencymixplus.tracking.worker.FIRST_WAIT", 0.01)
    monkeypatch.setattr("saliencymixplus.tracking.worker.LONGEST_WAIT", 0.01)


@pytest.fixture
def finished(room: Any, tmp_path: Path) -> Path:
    """The folder of a finished and recorded run."""
    training = room.start().epochs(2)
    training.sample(1)
    run = training.publish(tmp_path / "run")
    training.finish()
    (tmp_path / "evaluation").mkdir()
    return Path(run)
