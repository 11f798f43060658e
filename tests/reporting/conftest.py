"""Small finished, evaluated runs of two methods, as `train` and `evaluate` write them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from saliencymixplus.models import create_model
from tests.helpers import write_run

IMAGES = 100  # of the test split


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_reported(
    root: Path,
    mix: str,
    seed: int,
    *,
    validation: float | None = 4.0,
    evaluated: bool = True,
    classes: int = 10,
    **data: Any,
) -> Path:
    """A run below ``root/runs`` whose error is 10 % plus its seed, with samples and tables."""
    wrong = np.arange(IMAGES) < 10 + seed
    folder = write_run(root, wrong, mix=mix, seed=seed)
    described = json.loads((folder / "settings.json").read_text())
    described["data"] |= {"classes": [f"class {i}" for i in range(classes)]} | data
    (folder / "settings.json").write_text(json.dumps(described))
    last = {"epoch": 3, "top1_error": 10.0 + seed, "top5_error": 1.0}
    change_json(folder / "summary.json", last=last)
    if validation is not None:
        best = last | {"validation_top1_error": validation, "validation_top5_error": 0.0}
        change_json(folder / "summary.json", best_validation=best)
    rows = [
        {"epoch": e, "learning_rate": 0.1, "train_loss": 1 / e, "test_top1_error": 30 / e + seed}
        | {"seconds": 1, "images_per_second": 100, "forward_backward_passes": 4}
        for e in (1, 2, 3)
    ]
    write_csv(folder / "history.csv", rows)
    (folder / "samples").mkdir()
    Image.new("RGB", (20, 10), "red").save(folder / "samples" / "epoch_0003.png")
    measured = root / "evaluations" / "tiny" / mix / f"seed{seed}"
    if not evaluated:
        (measured / "evaluation.json").unlink()
        return folder
    change_json(measured / "metrics.json", top1_error=10.0 + seed, ece=2.0)
    attacks = [
        {"attack": attack, "epsilon_255": epsilon, "top1_error": 10 * epsilon + seed}
        for attack in ("fgsm", "pgd")
        for epsilon in (1, 4)
    ]
    write_csv(measured / "attacks.csv", attacks)
    bins = [
        {"scaling": "none", "bin_low": 0.8, "images": 40 - 20 * seed, "confidence": 0.85},
        {"scaling": "none", "bin_low": 0.9, "images": 2, "confidence": 0.95},
    ]
    write_csv(measured / "reliability.csv", [row | {"accuracy": 0.5 + 0.3 * seed} for row in bins])
    names = described["data"]["classes"]
    write_csv(
        measured / "per_class.csv",
        [{"class": name, "images": 50, "top1_error": 5.0 * i} for i, name in enumerate(names)],
    )
    pairs = [(names[0], names[0])] * 8 + [(names[0], names[1])] * (2 + seed)
    rows = [{"actual": actual, "predicted": predicted} for actual, predicted in pairs]
    write_csv(measured / "confusion.csv", rows)
    return folder


def write_runs(root: Path) -> list[Path]:
    """Two seeds each of CutMix and of no mixing; their paths are relative to ``root``."""
    return [
        write_reported(root, mix, seed).relative_to(root)
        for mix in ("cutmix", "none")
        for seed in (0, 1)
    ]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Those of ``write_runs`` in the current folder."""
    monkeypatch.chdir(tmp_path)
    return write_runs(tmp_path)


def give_weights(folder: Path, *, size: int, classes: int) -> None:
    """Untrained weights, so that the run can be loaded."""
    (folder / "weights").mkdir()
    weights = create_model("resnet8", classes, (size, size)).state_dict()
    save_file(weights, folder / "weights" / "last.safetensors")
