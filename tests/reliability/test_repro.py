"""``dvc repro`` after a killed stage resumes it, but only with the same settings."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc"),
]
RUN = Path("runs", "digits", "cutmix", "seed0")


def kill_within(pipeline: Any, *, everything: bool) -> int:
    """Start ``dvc repro train``; SIGKILL the training (or dvc too) once it has saved something."""
    saved = pipeline.root / ".saliencymixplus" / "runs"
    before = set(saved.rglob("*.pt"))
    repro = pipeline.start("dvc", "repro", "train")
    deadline = time.monotonic() + 120
    while not set(saved.rglob("*.pt")) - before and time.monotonic() < deadline:
        assert repro.poll() is None, repro.communicate()[0]
        time.sleep(0.02)
    trainings = pipeline.processes("cli.py train")
    assert trainings
    if everything:
        os.kill(repro.pid, signal.SIGKILL)
    for pid in trainings:
        os.kill(pid, signal.SIGKILL)
    repro.communicate(timeout=60)
    assert repro.returncode != 0
    assert not (pipeline.root / RUN / "summary.json").exists()
    return len(set(saved.iterdir()))


def uninterrupted(pipeline: Any, name: str) -> Path:
    """The same training from the start in one go, with a state folder of its own."""
    command = pipeline.train("--mix-aug", "cutmix", "--tracker", "none", "--output", name)
    command += ["--prepared", "pipeline/prepared/digits"]
    pipeline.run(*command, SALIENCYMIXPLUS_STATE=str(pipeline.root.parent / name))
    return pipeline.root / name


def test_a_killed_stage_is_gone_on_with(
    pipeline: Any, same_weights: Any, history: Any, digest_of: Any
) -> None:
    pipeline.run("dvc", "repro", "prepare")
    pipeline.change(epochs=15)
    assert kill_within(pipeline, everything=False) == 1
    assert kill_within(pipeline, everything=True) == 1, "the same state, gone on with"
    said = pipeline.run("dvc", "repro", "train")
    assert "resumed after epoch" in said
    whole = uninterrupted(pipeline, "whole")
    run = pipeline.root / RUN
    assert same_weights(whole, run)
    assert history(whole) == history(run)
    ((_, losses),) = pipeline.tracked().items()
    assert sorted(losses) == list(range(1, 16))
    assert pipeline.leftovers() == []
    assert "up to date" in pipeline.run("dvc", "repro", "train")


def test_a_changed_parameter_starts_anew(
    pipeline: Any, same_weights: Any, history: Any, digest_of: Any
) -> None:
    pipeline.run("dvc", "repro", "prepare")
    pipeline.change(epochs=15, learning_rate=0.05)
    assert kill_within(pipeline, everything=False) == 1
    pipeline.change(epochs=3, learning_rate=0.2)
    said = pipeline.run("dvc", "repro", "train")
    assert "resumed" not in said
    whole = uninterrupted(pipeline, "whole")
    run = pipeline.root / RUN
    assert same_weights(whole, run)
    assert history(whole) == history(run)
    states = [path.name for path in (pipeline.root / ".saliencymixplus" / "runs").iterdir()]
    assert len(states) == 1, "the killed run's own state still waits for it"
    assert states != [digest_of(run)]
