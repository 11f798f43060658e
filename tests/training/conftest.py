"""A tiny prepared data set and settings that train on it in a second."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliencymixplus.data.prepared import Meta, digest_of
from saliencymixplus.mixing import resolve_options
from saliencymixplus.settings import RunSettings, RuntimeSettings

sys.path.insert(0, str(Path(__file__).parent))  # for training_helpers

COUNTS = {"train": 50, "val": 18, "test": 21}
CLASSES = ["left", "right", "both"]
SIZE = 8


def write_prepared(path: Path, counts: dict[str, int] = COUNTS, size: int = SIZE) -> Path:
    """Noise with a bright half: the left, the right, or both. Pixel (0, 0) tells the row."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    for split, count in counts.items():
        labels = np.arange(count) % 3
        images = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
        images[labels != 1, :, : size // 2] += 100
        images[labels != 0, :, size // 2 :] += 100
        images[:, 0, 0, 0] = np.arange(count)
        np.save(path / f"{split}_images.npy", images)
        np.save(path / f"{split}_labels.npy", labels.astype(np.int64))
        np.save(path / f"{split}_saliency.npy", images[..., 0])
        (path / f"{split}_files.json").write_text(json.dumps([f"{i}" for i in range(count)]))
    meta: dict[str, Any] = {
        "name": "tiny",
        "classes": CLASSES,
        "image_size": (size, size),
        "mean": (0.4, 0.4, 0.4),
        "std": (0.25, 0.25, 0.25),
        "counts": counts,
        "digest": "",
        "source": "imagefolder",
        "archives": {},
        "settings": {},
        "has_saliency": True,
        "has_masks": False,
        "notes": [],
        "prepared_with": {},
    }
    meta["digest"] = digest_of(path, CLASSES, Meta.model_validate(meta))
    (path / "meta.json").write_text(json.dumps(meta))
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared data set of 50 training images of 8×8 pixels."""
    return write_prepared(tmp_path_factory.mktemp("prepared") / "tiny")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    path = tmp_path / "state"
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(path))
    return path


def settings(
    method: str = "saliencymixplus",
    *,
    seed: int = 0,
    model: str = "resnet8",
    options: dict[str, Any] | None = None,
    **training: Any,
) -> RunSettings:
    """A run of three epochs of four batches, the last of which is smaller."""
    recipe = {"epochs": 3, "batch_size": 16, "augment": "crop-flip", "crop_padding": 1}
    return RunSettings.model_validate(
        {
            "experiment": "tiny",
            "download": {"source": "digits"},
            "data": {"image_size": SIZE},
            "model": {"name": model},
            "training": recipe | {"sample_epochs": ()} | training,
            "mix": {
                "name": method,
                "method": method,
                "options": resolve_options(method, options or {}),
            },
            "seed": seed,
        }
    )


@pytest.fixture
def make() -> Callable[..., RunSettings]:
    """``settings``, as a fixture."""
    return settings


@pytest.fixture
def runtime() -> RuntimeSettings:
    """On the CPU, silent and untracked."""
    return RuntimeSettings(device="cpu", tracker="none", progress="none")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tracker that remembers what a training told it."""
    from training_helpers import Recorder

    tracker = Recorder()
    monkeypatch.setattr(
        "saliencymixplus.training.trainer.open_tracker", lambda kind, **rest: tracker
    )
    return tracker
