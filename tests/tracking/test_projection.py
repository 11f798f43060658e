"""What arrives in a real MLflow store: everything, once, whatever happened on the way."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from saliencymixplus.files import write_json
from saliencymixplus.runs.read import Run
from saliencymixplus.settings import DownloadSettings
from saliencymixplus.tracking import mlflow_model, record_evaluation, record_report
from saliencymixplus.tracking.describe import parameters
from saliencymixplus.tracking.mlflow_store import Store
from saliencymixplus.tracking.projection import Projection
from saliencymixplus.tracking.sync import sync
from tests.helpers import run_settings


def _client(room: Any) -> MlflowClient:
    return MlflowClient(f"sqlite:///{room.database}")


def _run(room: Any) -> Any:
    """The only run."""
    ((run_id, _),) = room.runs()
    return _client(room).get_run(run_id)


def test_a_whole_run_arrives(room: Any, tmp_path: Path) -> None:
    training = room.start().epochs(3)
    training.sample(1)
    training.sample(3)
    training.publish(tmp_path / "run")
    assert training.finish()

    run = _run(room)
    assert run.info.run_name.startswith("cutmix · seed 0")
    assert run.info.status == "FINISHED"
    assert run.data.params["model"] == "resnet8"
    assert run.data.params["batch_size"] == "128"
    assert run.data.tags["settings_digest"] == "digest0"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("digits", "d1617")
    assert room.epochs() == room.epochs("error/test_top1") == [1, 2, 3]
    rows = room.query("SELECT step, value, timestamp FROM metrics WHERE key = 'loss/train'")
    assert sorted(rows) == [
        (r.epoch, pytest.approx(r.train_loss), r.time_ms) for r in training.rows
    ]
    files = room.artifacts()
    assert files["weights/last.safetensors"].read_bytes() == b"weights"
    assert files["history.csv"].read_text() == (tmp_path / "run" / "history.csv").read_text()
    assert json.loads(files["settings.json"].read_text())["settings"]["experiment"] == "digits"
    images = [name for name in files if name.startswith("images/")]
    assert sorted(name.split("+timestamp+")[0] for name in images if name.endswith(".png")) == [
        "images/samples~mixed+step+1",
        "images/samples~mixed+step+3",
    ]
    assert sum(name.endswith("+compressed.webp") for name in images) == 2
    assert room.waiting() == []


def test_git_and_dvc_are_named(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@digits-cutmix-0")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "params.yaml", "dvc.yaml"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout

    def tags(seed: int) -> dict[str, str]:
        room.start(seed).finish()
        run_id, _ = room.runs()[-1]
        return dict(_client(room).get_run(run_id).data.tags)

    clean = tags(0)
    assert clean["mlflow.source.git.commit"] == commit.strip()
    assert clean["git.dirty"] == "false"
    assert (clean["dvc.stage"], clean["dvc.experiment"]) == ("train@digits-cutmix-0", "bold-name")
    Path("params.yaml").write_text("seeds: [1]\n")
    assert tags(1)["git.dirty"] == "true"


def test_a_resumed_run_is_the_same_with_each_epoch_once(room: Any) -> None:
    first = room.start().epochs(5)
    first.sample(4)
    assert first.sent()
    first.crash()
    assert room.statuses() == ["RUNNING"]
    second = room.start(checkpoint=3)  # older than what was sent
    second.epochs(4)
    second.sample(4)
    assert second.finish()
    assert room.epochs() == room.epochs("speed/seconds") == [1, 2, 3, 4, 5, 6, 7]
    assert sum(name.endswith(".png") for name in room.artifacts()) == 1
    assert room.statuses() == ["FINISHED"]


@pytest.mark.parametrize("moment", range(6))
def test_an_epoch_that_waits_when_a_resumed_training_drops_it_arrives_once(
    room: Any, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Killed after history.csv, before the checkpoint; the server answers at some moment."""
    down = [True]
    connect = Store.__init__

    def unreachable(self: Any, address: Any) -> None:
        if down[0]:
            raise ConnectionError("away")
        connect(self, address)

    monkeypatch.setattr(Store, "__init__", unreachable)
    monkeypatch.setattr("saliencymixplus.tracking.worker.FIRST_WAIT", 0.001)
    first = room.start().epochs(4)
    first.crash()
    down[0] = moment != 0
    second = room.start(checkpoint=3)
    time.sleep(0.01 * moment)
    down[0] = False
    second.epoch()
    second.finish()
    assert room.epochs() == room.epochs("speed/seconds") == [1, 2, 3, 4]


def test_sending_again_changes_nothing(room: Any, tmp_path: Path) -> None:
    """Even by a process that knows nothing of the first, and by one that asked before it."""
    training = room.start().epochs(3)
    training.sample(1)
    assert training.sent()
    training.crash()
    early = Projection(training.folder, Store(training.tracker.worker._address), print)
    card = training.tracker.worker.card
    early.send(card)
    training = room.start(checkpoint=3).epochs(2)
    assert training.sent()
    before = room.query("SELECT * FROM metrics ORDER BY key, step")
    early.send(card)  # believes that the epochs 4 and 5 are missing
    assert room.query("SELECT * FROM metrics ORDER BY key, step") == before
    training.finish()
    assert room.epochs() == [1, 2, 3, 4, 5]


def test_a_training_after_the_published_one_is_a_run_of_its_own(room: Any) -> None:
    for _ in range(2):
        room.start().epochs(2).finish()
    assert len(room.runs()) == 2
    assert room.epochs() == [1, 1, 2, 2]


@pytest.mark.parametrize("lost", ["before", "after"])
def test_failing_requests_lose_and_double_nothing(
    room: Any, monkeypatch: pytest.MonkeyPatch, impatient: None, lost: str
) -> None:
    """Two of three requests fail, before or after they were carried out."""
    calls = iter(range(100_000))
    with monkeypatch.context() as patch:
        for name in ("log_batch", "log_inputs", "log_artifact", "create_run", "set_terminated"):
            usual = getattr(MlflowClient, name)

            def flaky(*arguments: Any, _usual: Any = usual, **named: Any) -> Any:
                fails = next(calls) % 3 != 0
                if fails and lost == "before":
                    raise ConnectionError("reset")
                result = _usual(*arguments, **named)
                if fails:
                    raise ConnectionError("reset")
                return result

            patch.setattr(MlflowClient, name, flaky)
        training = room.start()
        for epoch in range(1, 6):
            training.epoch()
            training.sample(epoch)
            training.sent(0.3)
        training.finish(timeout=1)
    sync(print)
    assert room.epochs() == [1, 2, 3, 4, 5]
    assert sum(name.endswith(".png") for name in room.artifacts()) == 5
    assert len(room.query("SELECT * FROM datasets")) == 1
    assert room.statuses() == ["FINISHED"]
    assert room.waiting() == []


def test_a_run_created_by_a_killed_process_is_found_again(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, created = MlflowClient.create_run, threading.Event()

    def killed(*arguments: Any, **named: Any) -> None:
        create(*arguments, **named)
        created.set()
        raise ConnectionError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", killed)
        training = room.start()
        assert created.wait(20)
        training.crash()
    room.start().epochs(2).finish()
    assert len(room.runs()) == 1
    assert room.epochs() == [1, 2]


@pytest.mark.parametrize("when", ["while it was away", "under way"])
def test_a_deleted_run_costs_one_line_and_no_training(
    room: Any, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    training = room.start()
    assert training.sent()
    if when == "while it was away":
        training.crash()
    _client(room).delete_run(room.runs()[0][0])
    if when == "while it was away":
        training = room.start()
    training.epochs(2).finish()
    assert capsys.readouterr().err.count("deleted") == 1
    assert room.epochs() == []
    assert len(room.runs()) == 1


def test_a_refused_metric_does_not_hold_up_the_others(
    room: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = room.start().epochs(2)
    run = training.publish(tmp_path / "run")
    training.finish()
    (tmp_path / "evaluation").mkdir()
    record_evaluation(run, tmp_path / "evaluation", {"a bad name?*": 1.0, "top1_error": 2.0})
    assert _run(room).data.metrics["results/test_top1"] == 2.0
    assert "MLflow rejected results/a bad name?*" in capsys.readouterr().err
    assert room.waiting() == []


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
    found = _run(room)
    assert found.data.metrics["results/test_top1"] == 25.0
    assert found.info.status == "FINISHED"
    assert len(room.epochs("results/test_top1")) == 2
    assert json.loads(room.artifacts()["evaluation/metrics.json"].read_text())["top1_error"] == 25
    assert room.epochs() == [1, 2]


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
    note = _client(room).get_run(parent).data.tags["mlflow.note.content"]
    assert note.splitlines()[1] == "# new"
    assert len(note) <= 8000
    for run_id, _ in room.runs():
        assert _client(room).get_run(run_id).data.tags["mlflow.parentRunId"] == parent
    view = f"/#/experiments/{_client(room).get_run(parent).info.experiment_id}/runs?"
    assert view in opened


def test_a_description_has_the_results_and_is_the_users_once_edited(
    room: Any, tmp_path: Path
) -> None:
    training = room.start().epochs(4)
    run = training.publish(tmp_path / "run")
    training.finish()
    note = _run(room).data.tags["mlflow.note.content"]
    assert "| test error, top-1 | 12.50 |" in note
    assert (
        "| lowest test error of any epoch (optimistic: the test images select it) | 12.50 |" in note
    )
    assert "calibration" not in note
    (tmp_path / "evaluation").mkdir()
    record_evaluation(run, tmp_path / "evaluation", {"ece": 3.0, "best_test_top1_error": 2.0})
    found = _run(room)
    assert "| expected calibration error | 3.00 |" in found.data.tags["mlflow.note.content"]
    assert found.data.metrics["test_selected_optimistic/best_test_top1_error"] == 2.0
    _client(room).set_tag(found.info.run_id, "mlflow.note.content", "my own")
    record_evaluation(run, tmp_path / "evaluation", {"ece": 4.0})
    assert _run(room).data.tags["mlflow.note.content"] == "my own"


def test_the_errors_can_be_searched_without_quotes(room: Any) -> None:
    room.start().epochs(4).finish()
    client = _client(room)
    experiment = _run(room).info.experiment_id
    for condition, count in (("< 12.6", 1), ("> 12.6", 0)):
        found = client.search_runs([experiment], f"metrics.test_top1_error {condition}")
        assert len(found) == count


def test_what_sets_two_runs_apart_is_in_their_names_and_parameters(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both what the command line changes and what `dvc exp run -S` writes into params.yaml."""
    text = """
digits:
  download: {source: digits}
  model: {name: resnet8}
  training: {epochs: 3}
"""
    Path("params.yaml").write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    Path("params.yaml").write_text(text.replace("epochs: 3", "epochs: 3, mix_prob: 0.3"))
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    usual = room.settings().training
    for seed, changes in enumerate(
        (
            {},
            {"mix_prob": 0.3},
            {"weight_decay": 0.01, "schedule": "cosine"},
            {"weight_decay": 0.01, "schedule": "cosine", "momentum": 0.5, "gamma": 0.5},
        )
    ):
        room.start(seed, training=usual.model_copy(update=changes)).finish()
    runs = [_client(room).get_run(run_id) for run_id, _ in room.runs()]
    assert [run.info.run_name for run in runs] == [
        "cutmix · seed 0",
        "cutmix · seed 1 · mix_prob 0.3",
        "cutmix · seed 2 · weight_decay 0.01 · schedule cosine",
        "cutmix · seed 3 · momentum 0.5 · weight_decay 0.01 · schedule cosine · 1 more",
    ]
    assert runs[1].data.params["mix_prob"] == "0.3"
    assert runs[2].data.params["weight_decay"] == "0.01"
    assert runs[3].data.params["gamma"] == "0.5"
    assert "gamma" not in runs[2].data.params
    assert all(run.data.params["dvc_experiment"] == "bold-name" for run in runs)


def test_a_switch_is_described_by_its_members() -> None:
    cutmix = {"probability": 0.75, "alpha": 0.2}
    run = run_settings("switch", options={"members": {"cutmix": cutmix, "mixup": 0.25}})
    found = parameters(run, {})
    assert {key: value for key, value in found.items() if "." in key} == {
        "mix.cutmix.probability": "0.75",
        "mix.cutmix.alpha": "0.2",
        "mix.mixup.probability": "0.25",
    }


def test_no_secret_is_written_anywhere(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    download = DownloadSettings(
        source="cifar10", mirror="https://me:hunter2@mirror.example/x?token=hunter2"
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    training = room.start(download=download).epochs(1)
    training.publish(tmp_path / "run")
    training.finish()
    texts = [json.dumps(training.tracker.reference), training.tracker.url_hint or ""]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9/")
    training = room.start(seed=1)
    training.finish(timeout=5)
    assert "`python cli.py sync`" in capsys.readouterr().err
    texts += [json.dumps(training.tracker.reference), training.tracker.url_hint or ""]
    files = [path.read_bytes() for path in room.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not any(b"hunter2" in content for content in files)
    assert "hunter2" not in "".join(texts)


def test_both_weights_become_models_with_their_metrics(
    room: Any, trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_model, "_epoch", lambda _, which: 4 if which == "last" else 2)
    training = room.start().epochs(4)
    training.tracker.log_models(trained[0])
    training.tracker.log_models(trained[0])  # as after a crash between sending and ending
    training.finish()
    client = _client(room)
    outputs = _run(room).outputs.model_outputs
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


def test_system_metrics_run_along_and_go_on_after_a_resume(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.05)
    monkeypatch.setattr("saliencymixplus.tracking.system.LONGEST", 0.05)
    training = room.start()
    time.sleep(0.3)
    training.crash()
    with (training.folder / "system.jsonl").open("a") as file:
        file.write('{"time_ms": 1, "step": 900, "val')  # cut off by a full disk
    training = room.start()
    time.sleep(0.3)
    training.finish()
    steps = room.epochs("system/cpu_utilization_percentage")
    assert len(steps) >= 2
    assert steps == list(range(len(steps)))


def test_the_first_reading_of_the_processor_is_left_out(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    readings = iter([0.0])  # psutil's first: the load since the call before it, which there is not
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_: next(readings, 50.0))
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.05)
    training = room.start()
    time.sleep(0.5)
    training.finish()
    key = "system/cpu_utilization_percentage"
    history = _client(room).get_metric_history(room.runs()[0][0], key)
    assert {metric.value for metric in history} == {50.0}


def test_system_metrics_without_psutil_cost_one_line(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.01)
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in [n for n in sys.modules if n.startswith("mlflow.system_metrics.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    room.start().epochs(1).finish()
    assert capsys.readouterr().err.count("psutil") >= 1
    assert room.epochs() == [1]
