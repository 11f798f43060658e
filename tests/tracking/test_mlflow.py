"""What arrives in a real MLflow store: everything, once, whatever happened on the way."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from saliencymixplus.files import write_json
from saliencymixplus.settings.schema import DownloadSettings
from saliencymixplus.tracking import mlflow_store, reopen
from saliencymixplus.tracking.sync import sync

IMAGE = np.zeros((20, 30, 3), np.uint8)


def _client(room: Any) -> MlflowClient:
    return MlflowClient(f"sqlite:///{room.database}")


def _train(tracker: Any, epochs: range, loss: float = 1.0) -> None:
    for epoch in epochs:
        tracker.log_epoch(epoch, {"train_loss": loss / epoch, "seconds": time.monotonic()})


def test_a_whole_run_arrives(room: Any, tmp_path: Path) -> None:
    tracker = room.start()
    _train(tracker, range(1, 4))
    tracker.log_image("mixed samples", IMAGE, 1)
    tracker.log_image("mixed samples", IMAGE, 3)
    weights = tmp_path / "last.safetensors"
    weights.write_bytes(b"weights")
    tracker.log_file(weights, "weights")
    tracker.log_dict({"a": 1}, "evaluation/table.json")
    tracker.set_tags({"device": "cpu"})
    tracker.finish("FINISHED")

    run = _client(room).get_run(tracker.reference["run_id"])
    assert run.info.run_name == "cutmix · seed 0"
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "resnet8"
    assert run.data.params["batch_size"] == "128"
    assert run.data.tags["settings_digest"] == "digest0"
    assert run.data.tags["device"] == "cpu"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("digits", "d1617")
    assert room.epochs() == [1, 2, 3]
    files = room.artifacts()
    assert files["weights/last.safetensors"].read_bytes() == b"weights"
    assert json.loads(files["evaluation/table.json"].read_text()) == {"a": 1}
    assert json.loads(files["settings.json"].read_text())["settings"]["experiment"] == "digits"
    images = [name for name in files if name.startswith("images/")]
    assert sorted(name.split("+timestamp+")[0] for name in images if name.endswith(".png")) == [
        "images/mixed samples+step+1",
        "images/mixed samples+step+3",
    ]
    assert sum(name.endswith("+compressed.webp") for name in images) == 2


def test_git_and_dvc_are_named(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("DVC_STAGE", "train@digits-cutmix-0")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "params.yaml", "dvc.yaml"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout

    def tags(seed: int) -> dict[str, str]:
        tracker = room.start(seed)
        tracker.finish()
        return _client(room).get_run(tracker.reference["run_id"]).data.tags

    clean = tags(0)
    assert clean["mlflow.source.git.commit"] == commit.strip()
    assert clean["git.dirty"] == "false"
    assert (clean["dvc.stage"], clean["dvc.experiment"]) == ("train@digits-cutmix-0", "bold-name")
    Path("params.yaml").write_text("seeds: [1]\n")
    assert tags(1)["git.dirty"] == "true"


def test_a_resumed_run_is_the_same_with_each_epoch_once(
    room: Any, crash: Callable[[Any], None]
) -> None:
    first = room.start()
    _train(first, range(1, 6))
    first.log_image("mixed samples", IMAGE, 4)
    first._sender.drain(30)
    crash(first)
    second = room.start()
    second.rewind(3)  # the checkpoint is older than what was sent
    _train(second, range(1, 8))  # the whole history again, then new epochs
    second.log_image("mixed samples", IMAGE, 4)
    second.finish()
    assert second.reference["run_id"] == first.reference["run_id"]
    assert room.epochs() == room.epochs("seconds") == [1, 2, 3, 4, 5, 6, 7]
    assert sum(name.endswith(".png") for name in room.artifacts()) == 1
    assert [status for _, status in room.runs()] == ["FINISHED"]


def test_a_training_after_the_published_one_is_a_run_of_its_own(room: Any) -> None:
    import shutil

    for _ in range(2):
        tracker = room.start()
        _train(tracker, range(1, 3))
        tracker.finish()
        shutil.rmtree(room.state / "runs")  # as the trainer does when it has published
    assert len(room.runs()) == 2
    assert room.epochs() == [1, 1, 2, 2]
    room.start(seed=1).finish()
    left = {path.name.split("-")[0] for path in (room.state / "tracking").iterdir()}
    assert left == {"digest1"}  # the journals of the published runs are cleared away


@pytest.mark.parametrize("lost", ["before", "after"])
def test_failing_requests_lose_and_double_nothing(
    room: Any, monkeypatch: pytest.MonkeyPatch, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every second request fails, before or after it was carried out."""
    send, calls = mlflow_store.Store.send, iter(range(1000))

    def flaky(self: Any, *arguments: Any) -> None:
        fails = next(calls) % 2 == 0
        if fails and lost == "before":
            raise ConnectionError("reset")
        send(self, *arguments)
        if fails:
            raise ConnectionError("reset")

    monkeypatch.setattr(mlflow_store.Store, "send", flaky)
    monkeypatch.setattr("saliencymixplus.tracking.sender._FIRST_WAIT", 0.01)
    monkeypatch.setattr("saliencymixplus.tracking.sender._LONGEST_WAIT", 0.01)
    tracker = room.start()
    for epoch in range(1, 6):
        _train(tracker, range(epoch, epoch + 1))
        tracker._sender.drain(1)
        tracker.log_image("mixed", IMAGE, epoch)
    tracker.finish()
    monkeypatch.setattr(mlflow_store.Store, "send", send)
    sync(room.state)
    assert room.epochs() == [1, 2, 3, 4, 5]
    assert sum(name.endswith(".png") for name in room.artifacts()) == 5
    assert len(room.query("SELECT * FROM datasets")) == 1
    assert [status for _, status in room.runs()] == ["FINISHED"]


def test_a_crash_right_after_the_run_was_made_does_not_make_a_second(
    room: Any, monkeypatch: pytest.MonkeyPatch, crash: Callable[[Any], None]
) -> None:
    import threading

    made, ensure = threading.Event(), mlflow_store.Store.ensure_run

    def forget(self: Any, header: dict[str, Any]) -> str:
        ensure(self, header)
        made.set()
        raise ConnectionError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_store.Store, "ensure_run", forget)
        tracker = room.start()
        assert made.wait(20)
        crash(tracker)
    assert tracker.reference["run_id"] is None
    tracker = room.start()
    _train(tracker, range(1, 3))
    tracker.finish()
    assert len(room.runs()) == 1
    assert room.epochs() == [1, 2]


def test_a_deleted_run_costs_one_line_and_no_training(
    room: Any, crash: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = room.start()
    tracker._sender.drain(30)
    crash(tracker)
    _client(room).delete_run(tracker.reference["run_id"])
    tracker = room.start()
    _train(tracker, range(1, 3))
    tracker.finish()
    assert "has no run" in capsys.readouterr().err
    assert room.epochs() == []


def test_a_refused_record_does_not_hold_up_the_others(
    room: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = room.start()
    tracker.log_epoch(1, {"train_loss": 1.0, "a bad name?*": 2.0})
    tracker.log_epoch(2, {"train_loss": 0.5})
    tracker.finish()
    assert room.epochs() == [2]
    assert "refuses metrics" in capsys.readouterr().err


def test_evaluation_goes_to_the_same_run_and_replaces_its_figures(
    room: Any, tmp_path: Path
) -> None:
    tracker = room.start()
    _train(tracker, range(1, 3))
    tracker.finish()
    write_json(tmp_path / "tracking.json", tracker.reference)
    for error in (30.0, 30.0, 25.0):
        evaluation = reopen(tmp_path)
        evaluation.log_results({"evaluation/top1_error": error})
        evaluation.log_dict({"error": error}, "evaluation/metrics.json")
        evaluation.finish()
    run = _client(room).get_run(tracker.reference["run_id"])
    assert run.data.metrics["evaluation/top1_error"] == 25.0
    assert run.info.status == "FINISHED"
    assert len(room.epochs("evaluation/top1_error")) == 2
    assert len(room.runs()) == 1


def test_no_secret_is_written_anywhere(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    download = DownloadSettings(
        source="cifar10", mirror="https://me:hunter2@mirror.example/x?token=hunter2"
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    tracker = room.start(download=download)
    tracker.set_tags({"origin": "https://me:hunter2@mirror.example"})
    tracker.log_dict({"nested": [{"url": "s3://key:hunter2@bucket"}]}, "extra.json")
    tracker.finish()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9/")
    tracker = room.start(seed=1)
    tracker.finish(timeout=5)
    assert "records wait" in capsys.readouterr().err
    texts = [json.dumps(tracker.reference), tracker.url_hint or ""]
    files = [path.read_bytes() for path in room.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not any(b"hunter2" in content for content in files)
    assert "hunter2" not in "".join(texts)


def test_the_model_is_loadable_without_this_project(room: Any) -> None:
    import mlflow.pyfunc

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 5),
    ).eval()
    images = np.random.default_rng(0).normal(size=(7, 3, 8, 8)).astype(np.float32)
    tracker = room.start()
    tracker.log_model(model, images[:2])
    tracker.log_model(model, images[:2])
    tracker.finish()
    run = _client(room).get_run(tracker.reference["run_id"])
    (output,) = run.outputs.model_outputs
    folder = next(p for name, p in room.artifacts().items() if name == "MLmodel").parent
    loaded = mlflow.pyfunc.load_model(str(folder))
    assert loaded.metadata.model_id == output.model_id
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 8, 8)
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(loaded.predict(images), expected, rtol=1e-5, atol=1e-6)
    assert not list(folder.rglob("*.pkl"))


def test_a_model_that_cannot_be_exported_costs_one_line(
    room: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum((2, 3)) if float(x.sum()) > 1e9 else x.mean((2, 3))

    tracker = room.start()
    tracker.log_model(Odd(), np.zeros((2, 3, 4, 4), np.float32))
    tracker.finish()
    assert "not stored as an MLflow model" in capsys.readouterr().err
    assert [status for _, status in room.runs()] == ["FINISHED"]


def test_system_metrics_run_along_and_go_on_after_a_resume(
    room: Any, monkeypatch: pytest.MonkeyPatch, crash: Callable[[Any], None]
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system._FIRST", 0.05)
    monkeypatch.setattr("saliencymixplus.tracking.system._LONGEST", 0.05)
    tracker = room.start()
    time.sleep(0.3)
    crash(tracker)
    tracker = room.start()
    time.sleep(0.2)
    tracker.finish()
    steps = room.epochs("system/cpu_utilization_percentage")
    assert len(steps) >= 2
    assert steps == list(range(len(steps)))


def test_the_first_reading_of_the_processor_is_left_out(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    readings = iter([0.0])  # psutil's first: the load since the call before it, which there is not
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_: next(readings, 50.0))
    monkeypatch.setattr("saliencymixplus.tracking.system._FIRST", 0.05)
    tracker = room.start()
    time.sleep(0.5)
    tracker.finish()
    key = "system/cpu_utilization_percentage"
    history = _client(room).get_metric_history(tracker.reference["run_id"], key)
    assert {metric.value for metric in history} == {50.0}


def test_system_metrics_without_psutil_cost_one_line(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setattr("saliencymixplus.tracking.system._FIRST", 0.01)
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in [n for n in sys.modules if n.startswith("mlflow.system_metrics.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    tracker = room.start()
    _train(tracker, range(1, 2))
    tracker.finish()
    assert capsys.readouterr().err.count("psutil") >= 1
    assert room.epochs() == [1]
