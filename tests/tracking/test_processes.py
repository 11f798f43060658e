"""Real processes: four on a store that does not exist yet, and one that is killed repeatedly."""

import subprocess
import sys
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
from saliencymixplus.settings import DownloadSettings
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


@pytest.mark.parametrize("seed", range(2))
def test_a_process_that_is_killed_again_and_again(quiet: None, seed: int) -> None:
    """SIGKILL at random moments, with an unreliable store: everything is stored exactly once."""
    command = [sys.executable, "-m", "tests.tracking.kills", "12", str(seed)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
