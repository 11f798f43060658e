"""SIGKILL at chosen and random points, then the same command: nothing lost or duplicated."""

import random
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.settings import RunSettings
from tests import forked
from tests.helpers import REPOSITORY, run_settings, same_weights, timeless

SCRIPT = str(REPOSITORY / "tests" / "train_apart.py")
pytestmark = pytest.mark.slow


def launch(tiny: Path, output: Path, run: RunSettings, **options: Any) -> None:
    """In a forked process, which starts in a tenth of the time."""
    given = forked.arguments(tiny, output, run, **options)
    forked.run(output.with_name("log"), given, code=-9 if "kill" in options else 0)


def launch_anew(tiny: Path, output: Path, run: RunSettings) -> None:
    """In a process that shares nothing with any other, such as the order of its sets."""
    command = [sys.executable, SCRIPT, *forked.arguments(tiny, output, run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def same(first: Path, second: Path) -> None:
    for which in ("last", "best_validation", "best_test"):
        assert same_weights(first, second, which)
    assert timeless(first) == timeless(second)
    epochs = [row["epoch"] for row in timeless(second)]
    assert epochs == list(range(1, len(epochs) + 1))


def started(tiny: Path, output: Path, run: RunSettings) -> BaseProcess:
    """A training that has read the data: from here on, a kill can lose something."""
    log = output.with_name("log")
    log.unlink(missing_ok=True)
    process = forked.start(log, forked.arguments(tiny, output, run))
    while not (log.exists() and "\n" in log.read_text()):
        assert process.is_alive() or log.read_text(), "it said nothing"
        time.sleep(0.002)
    return process


# Reached one after the other, each by a new process that goes on where the last was killed.
POINTS = [
    ("step", 1),
    ("step", 3),
    ("writing", 1),
    ("written", 1),
    ("sweeping", 1),
    ("step", 6),
    ("logging", 1),
    ("writing", 2),
    ("publishing", 1),
    ("publishing", 3),
    ("published", 1),
    ("removing", 1),
]


@pytest.mark.parametrize("method", ["saliencymixplus"])
def test_killed_at_every_kind_of_point(
    tiny: Path, tmp_path: Path, state: Path, method: str
) -> None:
    run = run_settings(method, epochs=5)
    launch_anew(tiny, tmp_path / "whole", run)
    for point in POINTS:
        launch(tiny, tmp_path / "killed", run, kill=point)
    launch(tiny, tmp_path / "killed", run)
    same(tmp_path / "whole", tmp_path / "killed")
    assert not list((state / "runs").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "log", "state", "whole"]


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment-cifar10", "trivialaugment"])
def test_policies_and_erasing_survive_kills(
    tiny: Path, tmp_path: Path, state: Path, policy: str
) -> None:
    run = run_settings("cutmix", auto_augment=policy, random_erasing=0.5, epochs=2)
    launch(tiny, tmp_path / "whole", run)
    for point in (("step", 3), ("writing", 1), ("step", 6)):
        launch(tiny, tmp_path / "killed", run, kill=point)
    launch(tiny, tmp_path / "killed", run)
    same(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_times(tiny: Path, tmp_path: Path, seed: int) -> None:
    run = run_settings("cutmix", epochs=12, seed=seed)
    process = started(tiny, tmp_path / "whole", run)
    began = time.monotonic()
    assert forked.end_of(process) == 0
    usual = time.monotonic() - began
    chance = random.Random(seed)
    kills = 0
    for _ in range(5):
        process = started(tiny, tmp_path / "killed", run)
        time.sleep(chance.uniform(0.0, 0.5 * usual))
        process.kill()
        process.join(200)
        kills += process.exitcode == -9
    launch(tiny, tmp_path / "killed", run)
    assert kills >= 1
    same(tmp_path / "whole", tmp_path / "killed")


def test_mlflow_has_every_epoch_once(
    tiny: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = run_settings("cutmix", epochs=4)
    output = tmp_path / "run"
    for point in (("step", 6), ("logging", 2), ("writing", 2), ("published", 1), ("removing", 1)):
        launch(tiny, output, run, kill=point, tracker="mlflow")
    launch(tiny, output, run, tracker="mlflow")
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from saliencymixplus.tracking.sync import sync; sync()",
        ],
        check=True,
        timeout=100,
    )
    client = mlflow.MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    (found,) = client.search_runs(experiments, "params.mix = 'cutmix'")
    assert found.info.status == "FINISHED"
    for key in ("loss/train", "error/test_top1", "schedule/learning_rate"):
        history = client.get_metric_history(found.info.run_id, key)
        assert sorted(metric.step for metric in history) == [1, 2, 3, 4]
    losses = client.get_metric_history(found.info.run_id, "loss/train")
    values = {m.step: m.value for m in losses}
    for row in timeless(output):
        assert values[int(row["epoch"])] == pytest.approx(row["train_loss"], rel=1e-6)


def test_a_network_with_dropout_repeats_in_another_process(
    tiny: Path, tmp_path: Path, state: Path
) -> None:
    settings = run_settings("cutmix", model="mobilenet_v3_small", epochs=1)
    for name in ("first", "second"):
        launch_anew(tiny, tmp_path / name, settings)
    same(tmp_path / "first", tmp_path / "second")
