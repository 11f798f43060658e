"""Real processes: four at once on a store that does not exist yet, and one that keeps dying."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# A trainer in miniature: a checkpoint per epoch, written before or after the log.
_TRAIN = """
import sys, time
from pathlib import Path
import numpy as np
from saliencymixplus.settings import MixSettings, ModelSettings, RunSettings
from saliencymixplus.settings.schema import DownloadSettings
from saliencymixplus.tracking import open_tracker
seed, epochs, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
run = RunSettings(experiment="digits", download=DownloadSettings(source="digits"),
    model=ModelSettings(name="resnet8"), mix=MixSettings(name="cutmix", method="cutmix"), seed=seed)
state = Path("state/runs") / f"digest{seed}"
tracker = open_tracker("mlflow", run=run, identity=f"digest{seed}",
    data={"digest": "d", "name": "digits"}, state=state, resume=True)
checkpoint = state / "epoch"
done = int(checkpoint.read_text()) if checkpoint.exists() else 0
tracker.rewind(done)
def log(epoch):
    tracker.log_epoch(epoch, {"train_loss": 1 / epoch, "seconds": time.perf_counter()})
for epoch in range(1, done + 1):
    log(epoch)
for epoch in range(done + 1, epochs + 1):
    time.sleep(seconds)
    if epoch % 2:
        log(epoch)
    part = state / "part"
    part.write_text(str(epoch))
    part.replace(checkpoint)
    log(epoch)
    if epoch % 5 == 0:
        tracker.log_image("mixed", np.full((40, 40, 3), epoch, np.uint8), epoch)
tracker.finish("FINISHED", timeout=60)
"""


def _start(room: Any, seed: int, epochs: int, seconds: float) -> subprocess.Popen[bytes]:
    # No file: one that the next process's start rewrites may be read while it is empty.
    command = [sys.executable, "-c", _TRAIN, str(seed), str(epochs), str(seconds)]
    return subprocess.Popen(command, cwd=room.folder, stderr=subprocess.PIPE)


def test_four_at_once_create_the_store_and_lose_nothing(room: Any) -> None:
    room.database.unlink()
    processes = [_start(room, seed, 30, 0.02) for seed in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors.decode()
        assert b"lock" not in errors, errors.decode()
        assert b"tracking:" not in errors, errors.decode()
    assert [status for _, status in room.runs()] == ["FINISHED"] * 4
    assert room.epochs() == sorted(list(range(1, 31)) * 4)
    assert len(room.query("SELECT * FROM experiments WHERE name = 'digits'")) == 1


def test_a_process_that_is_killed_again_and_again(room: Any) -> None:
    """SIGKILL at random moments; each epoch's metrics and images are there exactly once."""
    chance = random.Random(0)
    for _ in range(12):
        process = _start(room, 0, 60, 0.03)
        marker = room.state / "runs" / "digest0" / "tracking.json"
        deadline = time.monotonic() + 60
        while not marker.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(1.0, 3.0))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    process = _start(room, 0, 60, 0.01)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors.decode()
    assert [status for _, status in room.runs()] == ["FINISHED"]
    assert room.epochs() == list(range(1, 61))
    assert room.epochs("seconds") == list(range(1, 61))
    pictures = [Path(name).name for name in room.artifacts() if name.endswith(".png")]
    steps = sorted(int(name.split("+")[2]) for name in pictures)
    assert len(steps) == len(set(steps))
    system = room.epochs("system/cpu_utilization_percentage")
    assert len(system) == len(set(system))
