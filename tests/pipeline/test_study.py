"""The study's pipeline, on two small cells."""

import json
from collections.abc import Callable
from typing import Any

import pytest

METHODS = ["none", "cutmix-sample-box", "cutmix-mask", "cutmix-mask-shuffled", "cutmix-object-mask"]
STUDY = {
    "object_sizes": [6, 8],
    "train_digits": [40],
    "images_seen": 80,
    "methods": [*METHODS, "cutmix-object-mask-shuffled"],
    "seeds": [0],
    "settings": {"training.precision": "fp32", "training.weights_epochs": []},
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_trains_the_cells_and_reports(new_clone: Callable[..., Any]) -> None:
    training = {"batch_size": 20, "warmup_epochs": 0, "sample_epochs": []}
    clone = new_clone(
        study=STUDY, clutter={"training": training}, audit={"images": 32, "epoch_images": 32}
    )
    clone.run("dvc", "--cd", "study", "repro")
    assert json.loads(clone.run("dvc", "--cd", "study", "status", "--json")) == {}
    report = clone.folder / "study/report"
    text = (report / "study.md").read_text(encoding="utf-8")
    assert "| 6 of 16, 40 digits |" in text
    assert "| exact − exchanged label |" in text
    assert "Over 8 recipes in 2 cells" in text
    assert {path.name for path in (report / "figures").iterdir()} == {
        *("gains.png", "curves.png", "factors.png", "effects.png", "regression.png")
    }
    clone.commit()
    assert clone.run("git", "ls-files", "study/report").split() == [
        "study/report/study.csv",
        "study/report/study.md",
    ]
    clone.run("python", "cli.py", "study-report", "study/cells/6-40", "--output", "one")
    assert "6 of 16" in (clone.folder / "one/study.md").read_text(encoding="utf-8")

    # A single cell has no factors to draw; one size less trains nothing.
    clone.params(study={"object_sizes": [8]})
    said = clone.run("dvc", "--cd", "study", "repro")
    assert "'cell@8-40' didn't change, skipping" in said
    assert not (report / "figures/factors.png").exists()
    assert "6 of 16" not in (report / "study.md").read_text(encoding="utf-8")

    clone.params(study={"images_seen": 120})
    assert "cell@8-40" in json.loads(clone.run("dvc", "--cd", "study", "status", "--json"))
