"""Evaluations, reports and models are added to the run of their training."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.files import write_json
from saliencymixplus.runs.read import Run
from saliencymixplus.tracking import (
    mlflow_model,
    record_evaluation,
    record_report,
    unrecorded_evaluations,
)
from tests.tracking.mlflow_runs import client_of, only_run


def test_an_evaluation_goes_to_the_same_run_and_replaces_its_figures(
    room: Any, tmp_path: Path
) -> None:
    training = room.start().epochs(2)
    run = training.publish(tmp_path / "run")
    training.finish()
    output = tmp_path / "evaluation"
    for error in (30.0, 30.0, 25.0):
        write_json(output / "metrics.json", {"top1_error": error})
        record_evaluation(run, output, {"top1_error": error})
    found = only_run(room)
    assert found.data.metrics["results/test_top1"] == 25.0
    assert found.info.status == "FINISHED"
    assert len(room.epochs("results/test_top1")) == 2
    assert json.loads(room.artifacts()["evaluation/metrics.json"].read_text())["top1_error"] == 25
    assert room.epochs() == [1, 2]


def test_evaluations_that_mlflow_lacks_are_found(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = room.start().epochs(1)
    run = training.publish(tmp_path / "run")
    training.finish()
    output = tmp_path / "evaluation"
    output.mkdir()
    made = {"top1_error": 30.0, "ece": 2.5}
    record_evaluation(run, output, made, "none")
    assert unrecorded_evaluations({run: made}, "none") == []
    assert unrecorded_evaluations({run: made}) == [run]
    record_evaluation(run, output, made)
    assert unrecorded_evaluations({run: made}) == []
    assert unrecorded_evaluations({run: {**made, "ece": 2.0}}) == [run]

    untracked = tmp_path / "untracked"
    shutil.copytree(run, untracked)
    write_json(untracked / "tracking.json", {"tracker": "none"})
    assert unrecorded_evaluations({untracked: made}) == []
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
        assert unrecorded_evaluations({run: {**made, "ece": 2.0}}) == []  # belongs elsewhere
    changed = {run: {**made, "ece": 2.0}}
    with monkeypatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "0")
        assert unrecorded_evaluations(changed) == []  # out of time
    assert unrecorded_evaluations(changed) == [run]
    experiment = client_of(room).get_run(only_run(room).info.run_id).info.experiment_id
    client_of(room).delete_experiment(experiment)
    assert unrecorded_evaluations(changed) == []
    assert client_of(room).get_experiment(experiment).lifecycle_stage == "deleted"
    client_of(room).restore_experiment(experiment)
    assert unrecorded_evaluations(changed) == [run]
    client_of(room).delete_run(only_run(room).info.run_id)
    assert unrecorded_evaluations(changed) == []


def test_a_report_goes_to_the_parent_of_all_runs(room: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        room.start(seed).epochs(1).finish()
    for text in ("old", "new"):
        (tmp_path / "report.html").write_text(text)
        (tmp_path / "comparison.md").write_text(f"# {text}\n\n| a |\n| - |\n" + "x\n" * 8000)
        opened = record_report("digits", sorted(tmp_path.glob("*.*")))
    assert opened
    ((parent, status),) = room.query(
        "SELECT run_uuid, status FROM runs WHERE name = 'digits: comparison'"
    )
    assert status == "FINISHED"
    assert room.artifacts()["report.html"].read_text() == "new"
    note = client_of(room).get_run(parent).data.tags["mlflow.note.content"]
    assert note.splitlines()[1] == "# new"
    assert len(note) <= 8000
    for run_id, _ in room.runs():
        assert client_of(room).get_run(run_id).data.tags["mlflow.parentRunId"] == parent
    view = f"/#/experiments/{client_of(room).get_run(parent).info.experiment_id}/runs?"
    assert view in opened


def test_both_weights_become_models_with_their_metrics(
    room: Any, trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "epoch_of", lambda _, which: 4 if which == "last" else 2)
    training = room.start().epochs(4)
    training.tracker.log_models(trained[0])
    training.tracker.log_models(trained[0])  # as after a crash between sending and ending
    training.finish()
    client = client_of(room)
    outputs = only_run(room).outputs.model_outputs
    logged = {m.name: m for m in (client.get_logged_model(output.model_id) for output in outputs)}
    metrics = {
        name: {metric.key: metric.value for metric in model.metrics}
        for name, model in logged.items()
    }
    assert metrics == {
        "cutmix-seed0-last": {"test_top1_error": 12.5},
        "cutmix-seed0-best_validation": {"test_top1_error": 25.0},
    }
    found = mlflow_model.find_model(client, room.runs()[0][0], "cutmix-seed0-last")
    assert found is not None
    assert found.model_id == logged["cutmix-seed0-last"].model_id
    described = (room.folder / "mlartifacts").rglob("MLmodel")
    assert {mlflow_model.epoch_of(path.parent) for path in described} == {2, 4}


def test_a_model_that_cannot_be_exported_costs_one_line(
    room: Any,
    trained: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum((2, 3)) if float(x.sum()) > 1e9 else x.mean((2, 3))

    monkeypatch.setattr(Run, "model", lambda *_: Odd())
    training = room.start()
    training.tracker.log_models(trained[0])
    training.finish()
    assert "not stored as an MLflow model" in capsys.readouterr().err
    assert room.statuses() == ["FINISHED"]
