"""Cloned, moved and copied runs and databases."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from saliencymixplus.files import read_json, write_json
from saliencymixplus.tracking import record_evaluation


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0, published before MLflow answered", "0.2.0"])
def test_a_clone_gets_the_whole_run_that_it_pulled(
    room: Any, finished: Path, tmp_path: Path, migrated: Path, version: str
) -> None:
    """The clone has another store, in which the run's id means nothing."""
    if version != "0.2.0":
        written = read_json(finished / "tracking.json")
        kept = {k: written[k] for k in ("tracker", "experiment", "run_name", "attempt", "created")}
        run_id = None if "before" in version else room.runs()[0][0]
        write_json(finished / "tracking.json", {**kept, "uri": written["store"], "run_id": run_id})
    shutil.copyfile(migrated, room.database)
    shutil.rmtree(room.folder / "mlartifacts")
    for error in (9.0, 8.0):
        record_evaluation(finished, tmp_path / "evaluation", {"top1_error": error})
    ((run_id, status),) = room.runs()
    found = MlflowClient(f"sqlite:///{room.database}").get_run(run_id)
    assert status == "FINISHED"
    assert found.data.params["model"] == "resnet8"
    assert found.data.metrics["results/test_top1"] == 8.0
    assert room.epochs() == [1, 2]
    assert {"settings.json", "history.csv", "weights/last.safetensors"} <= set(room.artifacts())
    assert sum(name.endswith(".png") for name in room.artifacts()) == 1


@pytest.mark.parametrize("old_place", ["gone", "there"])
def test_artifacts_follow_a_moved_or_copied_repository(
    room: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_place: str
) -> None:
    new = tmp_path / "new place, 1%"
    shutil.copytree(room.folder, new)
    if old_place == "gone":
        shutil.rmtree(room.folder)
        room.folder.touch()  # it cannot be made again
    before = {path for path in room.folder.rglob("*") if path.suffix != ".lock"}
    monkeypatch.chdir(new)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(new / "state"))
    moved = type(room)(new)
    training = moved.start(seed=1).epochs(1)
    training.publish(tmp_path / "run 2")
    assert training.finish()
    assert {path for path in room.folder.rglob("*") if path.suffix != ".lock"} == before
    client = MlflowClient(f"sqlite:///{moved.database}")
    for run_id, status in moved.runs():
        assert status == "FINISHED"
        assert "settings.json" in {file.path for file in client.list_artifacts(run_id)}
    assert sum(path.name == "last.safetensors" for path in new.rglob("*")) == 2


def test_an_artifact_location_of_the_users_own_stays(room: Any, tmp_path: Path) -> None:
    location = (tmp_path / "elsewhere").as_uri()
    MlflowClient(f"sqlite:///{room.database}").create_experiment("digits", location)
    training = room.start().epochs(1)
    training.publish(tmp_path / "run")
    assert training.finish()
    assert list((tmp_path / "elsewhere").rglob("last.safetensors"))


def test_a_database_that_is_none_costs_one_line(
    room: Any, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    room.database.write_text("nonsense " * 1000)
    room.start().epochs(1).finish(timeout=2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("tracking: MLflow (") for line in said)
    assert len(room.waiting()) == 1
    assert json.loads((room.unsent / room.waiting()[0] / "tracking.json").read_text())
