"""What several test files of the training share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from saliencymixplus.tracking import Tracker
from saliencymixplus.training.history import read_history

TIMES = ("seconds", "images_per_second")


def same_weights(first: Path, second: Path, which: str = "last") -> bool:
    """Bit for bit."""
    a, b = (load_file(path / "weights" / f"{which}.safetensors") for path in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def timeless(path: Path) -> list[dict[str, Any]]:
    """The history without its clock."""
    rows = read_history(path / "history.csv")
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


class Recorder(Tracker):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.images: list[int] = []
        self.status = ""

    def log_epoch(self, epoch: int, metrics: Any) -> None:
        if epoch not in self.epochs:
            self.epochs.append(epoch)
        assert all(isinstance(value, float) for value in metrics.values())
        assert all(key.startswith("epoch/") for key in metrics)  # before results/ in MLflow's UI

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        assert image.dtype == np.uint8
        self.images.append(step)

    def finish(self, status: str = "FINISHED", timeout: float | None = None) -> None:
        self.status = status
