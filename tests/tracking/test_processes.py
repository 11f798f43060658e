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

from tests.helpers import REPOSITORY

pytestmark = pytest.mark.slow

# A trainer in miniature: history.csv before the checkpoint, as the real one writes them.
_TRAIN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.tracking.conftest import Training
from saliencymixplus.settings import MixSettings, ModelSettings, RunSettings
from saliencymixplus.settings.schema import DownloadSettings
seed, epochs, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
run = RunSettings(experiment="digits", download=DownloadSettings(source="digits"),
    model=ModelSettings(name="resnet8"), mix=MixSettings(name="cutmix", method="cutmix"), seed=seed)
folder = Path("state/runs") / f"digest{seed}"
checkpoint = folder / "epoch"
training = Training(folder, run, int(checkpoint.read_text()) if checkpoint.exists() else 0)
for epoch in range(len(training.rows) + 1, epochs + 1):
    time.sleep(seconds)
    training.epoch()
    if epoch % 5 == 0:
        training.sample(epoch)
    part = folder / "part"
    part.write_text(str(epoch))
    part.replace(checkpoint)
training.finish("FINISHED", timeout=60)
"""


def _start(room: Any, seed: int, epochs: int, seconds: float) -> subprocess.Popen[bytes]:
    # No file: one that the next process's start rewrites may be read while it is empty.
    command = [sys.executable, "-c", _TRAIN, str(REPOSITORY)]
    command += [str(seed), str(epochs), str(seconds)]
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
    assert room.epochs("speed/seconds") == list(range(1, 61))
    pictures = [Path(name).name for name in room.artifacts() if name.endswith(".png")]
    steps = sorted(int(name.split("+")[2]) for name in pictures)
    assert len(steps) == len(set(steps))
    system = room.epochs("system/cpu_utilization_percentage")
    assert len(system) == len(set(system))
