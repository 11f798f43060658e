"""Functions shared by several test files; fixtures are in conftest.py."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from saliencymixplus.datasets.prepared import Meta, arrays_digest
from saliencymixplus.evaluation.predictions import Predictions, save_predictions
from saliencymixplus.mixing import METHODS, Mixer, resolve_options
from saliencymixplus.runs.history import read_history
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import Tracker

REPOSITORY = Path(__file__).parents[1]
COUNTS = {"train": 50, "val": 18, "test": 21}
CLASSES = ["left", "right", "both"]
SIZE = 8
TIMES = ("seconds", "images_per_second", "time_ms")
Arrays = dict[str, NDArray[Any]]


def write_prepared(
    folder: Path, counts: Mapping[str, int] = COUNTS, size: int = SIZE, *, masks: bool = False
) -> Path:
    """Prepared images of noise with a bright object: the left half, the right half, or both.

    Pixel (0, 0) of the first channel holds the image's row in the split.
    """
    rng = np.random.default_rng(0)
    splits: dict[str, Arrays] = {}
    for split, count in counts.items():
        labels = np.arange(count, dtype=np.int64) % 3
        images = rng.integers(0, 120, (count, size, size, 3), dtype=np.uint8)
        objects = np.zeros((count, size, size), np.uint8)
        for wrong, half in ((1, slice(None, size // 2)), (0, slice(size // 2, None))):
            images[labels != wrong, :, half] += 100
            objects[labels != wrong, 2:-1, half] = 1
        images[:, 0, 0, 0] = np.arange(count)
        splits[split] = {"images": images, "labels": labels, "saliency": images[..., 0]}
        if masks:
            splits[split]["masks"] = objects
    mean, std = (0.4, 0.4, 0.4), (0.25, 0.25, 0.25)
    return _write_arrays(folder, splits, name="tiny", classes=CLASSES, mean=mean, std=std)


def write_rectangles(folder: Path, *, images: int = 24, size: int = 12, masks: bool = True) -> Path:
    """Prepared images of noise; each has a rectangle at a random place as its object."""
    rng = np.random.default_rng(0)
    splits: dict[str, Arrays] = {}
    for split, count in {"train": images, "test": 8}.items():
        objects = np.zeros((count, size, size), np.uint8)
        for i in range(count):
            r, c = rng.integers(0, size // 2, 2)
            objects[i, r : r + size // 3, c : c + size // 2] = 1
        splits[split] = {
            "images": rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
            "labels": np.arange(count, dtype=np.int64) % 3,
            "saliency": objects * 200,
        }
        if masks:
            splits[split]["masks"] = objects
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    classes = ["one", "two", "three"]
    return _write_arrays(folder, splits, name="rectangles", classes=classes, mean=mean, std=std)


def _write_arrays(folder: Path, splits: Mapping[str, Arrays], **described: Any) -> Path:
    """Write arrays as `prepare` does."""
    folder.mkdir(parents=True)
    for split, arrays in splits.items():
        for kind, array in arrays.items():
            np.save(folder / f"{split}_{kind}.npy", array)
        names = [f"{split}/{i:03d}.png" for i in range(len(arrays["labels"]))]
        (folder / f"{split}_files.json").write_text(json.dumps(names))
    train = splits["train"]
    meta: dict[str, Any] = described | {
        "image_size": train["images"].shape[1:3],
        "counts": {split: len(arrays["labels"]) for split, arrays in splits.items()},
        "digest": "",
        "source": "imagefolder",
        "archives": {},
        "settings": {},
        "has_saliency": True,
        "has_masks": "masks" in train,
        "notes": [],
        "prepared_with": {},
    }
    meta["digest"] = arrays_digest(folder, Meta.model_validate(meta))
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


class Pooling(nn.Module):
    """A network for images of any size: a 4 × 4 feature map, the pooled images, and 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer3 = nn.AdaptiveAvgPool2d(4)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer3(images).mean(1).flatten(1)[:, :10]


def maps_for(mixer: Mixer, saliency: Tensor) -> dict[str, Any]:
    """The inputs a mixer needs besides images and labels, made from maps (B, H, W)."""
    found: dict[str, Any] = {}
    if METHODS[mixer.method].part is not None:
        found["model"] = Pooling()
    elif mixer.needs_saliency or mixer.needs_model or METHODS[mixer.method].maps is not None:
        found["saliency"] = saliency
    if mixer.needs_masks:
        found["masks"] = (saliency > 0.5).long()
    return found


def run_settings(
    method: str = "saliencymixplus",
    seed: int = 0,
    *,
    experiment: str = "tiny",
    model: str = "resnet8",
    options: Mapping[str, Any] | None = None,
    **training: Any,
) -> RunSettings:
    """A run of three epochs of four batches, the last of which is smaller."""
    recipe = {"epochs": 3, "batch_size": 16, "augment": "crop-flip", "crop_padding": 1}
    return RunSettings.model_validate(
        {
            "experiment": experiment,
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


def write_run(
    root: Path,
    wrong: Any,
    *,
    mix: str = "none",
    seed: int = 0,
    labels: Any = None,
    seconds: float = 10.0,
    **settings: Any,
) -> Path:
    """A finished, evaluated run whose last weights misclassify the images ``wrong`` (N,) bool.

    The best-on-test weights misclassify the same images except the first of them.
    """
    folder = root / "runs" / "tiny" / mix / f"seed{seed}"
    measured = root / "evaluations" / "tiny" / mix / f"seed{seed}"
    for path in (folder, measured):
        path.mkdir(parents=True)
    run = run_settings(mix, seed, **settings)
    digest = hashlib.sha256(f"{mix}{seed}".encode()).hexdigest()[:16]
    data = {
        "digest": "0" * 64,
        "name": "halves",
        "classes": [f"class {i}" for i in range(10)],
        "image_size": [SIZE, SIZE],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "counts": {"train": 50, "test": len(wrong)},
    }
    described = {
        "settings": run.model_dump(mode="json"),
        "digest": digest,
        "data": data,
        "device": "cpu",
    }
    epochs = run.training.epochs
    error = 100 * float(np.mean(wrong))
    summary = {
        "last": {"epoch": epochs, "top1_error": error, "top5_error": error},
        "epochs": epochs,
        "seconds": seconds,
        "images_per_second": 100.0,
        "forward_backward_passes": 100 + seed,
        "parameters": 75290,
        "train_images": 50,
    }
    header = (
        "epoch,learning_rate,train_loss,test_top1_error,"
        "seconds,images_per_second,forward_backward_passes\n"
    )
    rows = [f"{epoch + 1},0.1,2.5,{error:g},1,100,4\n" for epoch in range(epochs)]
    (folder / "settings.json").write_text(json.dumps(described))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "tracking.json").write_text(json.dumps({"tracker": "none"}))
    (folder / "history.csv").write_text(header + "".join(rows))
    about = {
        "run": {"digest": digest, "data": "0" * 64},
        "test_images": len(wrong),
        "images_of_costly_parts": len(wrong),
    }
    (measured / "evaluation.json").write_text(json.dumps(about))
    (measured / "metrics.json").write_text(json.dumps({"nll": 0.5 + seed}))
    wrong = np.asarray(wrong)
    better = wrong.copy()
    better[np.flatnonzero(wrong)[:1]] = False
    ranks = {"last": wrong * 6, "best_test": better * 6}
    labels = np.zeros(len(wrong)) if labels is None else labels
    save_predictions(
        Predictions(
            np.asarray(labels).astype(np.int32),
            {which: rank.astype(np.uint16) for which, rank in ranks.items()},
            np.zeros((len(wrong), 10), np.float16),
        ),
        measured / "predictions.npz",
    )
    return folder


def same_weights(first: Path, second: Path, which: str = "last") -> bool:
    """Whether two runs have the same weights, bit for bit."""
    a, b = (load_file(path / "weights" / f"{which}.safetensors") for path in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def timeless(path: Path) -> list[dict[str, Any]]:
    """A run's history without the columns ``TIMES``."""
    rows = [asdict(row) for row in read_history(path / "history.csv")]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


class Recorder(Tracker):
    """A tracker that remembers the content of the state folder at its last update."""

    def __init__(self) -> None:
        self.folder = Path()
        self.epochs: list[int] = []
        self.images: list[int] = []
        self.status = ""

    def open(self, kind: str, *, folder: Path, **rest: Any) -> "Recorder":
        """Take the place of ``open_tracker``."""
        self.folder = folder
        self.update()
        return self

    def update(self) -> None:
        self.epochs = [row.epoch for row in read_history(self.folder / "history.csv")]
        samples = sorted((self.folder / "samples").glob("*.png"))
        self.images = [int(path.stem.rpartition("_")[2]) for path in samples]

    def finish(self, status: str, timeout: float | None = None) -> bool:
        self.status = status
        return True
