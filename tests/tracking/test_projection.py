"""A real MLflow store receives everything exactly once, whatever goes wrong."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from saliencymixplus.settings import DownloadSettings
from saliencymixplus.tracking import record_evaluation
from saliencymixplus.tracking.mlflow_store import Store
from saliencymixplus.tracking.projection import Projection
from saliencymixplus.tracking.sync import sync
from tests.tracking.mlflow_runs import client_of, only_run


def test_a_whole_run_arrives(room: Any, tmp_path: Path) -> None:
    training = room.start().epochs(3)
    training.sample(1)
    training.sample(3)
    training.publish(tmp_path / "run")
    assert training.finish()

    run = only_run(room)
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
    """Even by a process that does not know of the first, or that asked the store before it."""
    training = room.start().epochs(3)
    training.sample(1)
    assert training.sent()
    training.crash()
    early = Projection(training.folder, Store(training.tracker.worker.address), print)
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
    client_of(room).delete_run(room.runs()[0][0])
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
    assert only_run(room).data.metrics["results/test_top1"] == 2.0
    assert "MLflow rejected results/a bad name?*" in capsys.readouterr().err
    assert room.waiting() == []


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
