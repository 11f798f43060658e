"""Trainings started at once: one store, one state folder, one preparation, nothing lost."""

import re
import time
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_four_trainings_at_once(place: Any, same_weights: Any, history: Any) -> None:
    """With a store that does not exist yet, and images that are not prepared yet."""
    place.environment["SALIENCYMIXPLUS_TRACKING_TIMEOUT"] = "120"  # all four end at once
    recipe = ("--mix-aug", "cutmix", "--epochs", 2)
    trainings = [
        place.start(*place.train(*recipe, "--seed", seed, "--output", f"runs/{seed}"))
        for seed in range(4)
    ]
    said = [training.communicate(timeout=250)[0] for training in trainings]
    assert [training.returncode for training in trainings] == [0] * 4, said
    text = "".join(said)
    assert "locked" not in text.lower()  # by SQLite; waiting for a lock of ours is said
    assert "Traceback" not in text
    assert text.count("prepared digits") == 1
    tracked = place.tracked()
    assert len(tracked) == 4
    assert all(sorted(losses) == [1, 2] for losses in tracked.values())
    assert len({tuple(losses.values()) for losses in tracked.values()}) == 4
    assert place.leftovers() == []
    assert list((place.root / ".saliencymixplus" / "runs").iterdir()) == []
    # The results are the same as when run alone.
    place.run(*place.train(*recipe, "--seed", 3, "--tracker", "none", "--output", "runs/alone"))
    runs = place.root / "runs"
    assert same_weights(runs / "3", runs / "alone")
    assert history(runs / "3") == history(runs / "alone")


def test_the_second_of_two_at_the_same_run_refuses(place: Any) -> None:
    """One ends as usual, the other at once, with one line."""
    place.run(*place.train("--epochs", 1, "--tracker", "none", "--output", "warm"))
    command = place.train("--epochs", 40, "--tracker", "none", "--output", "runs/one")
    first = place.start(*command)
    assert first.stdout is not None
    while not first.stdout.readline().startswith("epoch"):
        assert first.poll() is None
    second = place.start(*command)
    refusal, _ = second.communicate(timeout=100)
    assert second.returncode == 1
    assert "another process is training this run" in refusal
    assert len(refusal.splitlines()) == 1
    rest, _ = first.communicate(timeout=200)
    assert first.returncode == 0, rest


def test_a_queue_of_two_workers(pipeline: Any) -> None:
    """Three experiments in DVC's copies of the repository: all in one store, all different."""
    pipeline.run("dvc", "repro", "prepare")
    rates = ["0.05", "0.1", "0.2"]
    for rate in rates:
        change = f"digits.training.learning_rate={rate}"
        pipeline.run("dvc", "exp", "run", "--queue", "-S", change, "-n", f"rate{rate[2:]}", "train")
    pipeline.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 200
    status = ""
    while time.monotonic() < deadline:
        status = pipeline.run("dvc", "queue", "status")
        if len(re.findall("Success|Failed", status)) == 3:
            break
        time.sleep(2)
    if status.count("Success") != 3:
        status += pipeline.run("dvc", "queue", "logs", "rate1")
    assert status.count("Success") == 3, status
    tracked = pipeline.tracked()
    assert len(tracked) == 3
    assert all(sorted(losses) == [1, 2, 3] for losses in tracked.values())
    assert len({losses[3] for losses in tracked.values()}) == 3
    logged = pipeline.query("SELECT value FROM params WHERE key LIKE '%learning_rate'")
    assert sorted(value for (value,) in logged) == rates
    names = pipeline.run("dvc", "exp", "list", "--name-only").split()
    assert sorted(names) == sorted(f"rate{rate[2:]}" for rate in rates)
    assert list((pipeline.root / ".saliencymixplus" / "runs").iterdir()) == []
