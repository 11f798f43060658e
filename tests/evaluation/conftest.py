"""A tiny data set with masks, run folders without a training, and a small classifier."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from saliencymixplus.evaluation.classifier import PixelClassifier
from saliencymixplus.evaluation.predictions import Predictions, save_predictions
from saliencymixplus.settings import RunSettings

CLASSES = ["left", "right", "both"]
SIZE = 8


def write_prepared(folder, *, counts=None, masks=True):
    """Noise with a bright half, which is the object: the left, the right, or both."""
    counts = counts or {"train": 24, "val": 9, "test": 21}
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for split, count in counts.items():
        labels = np.arange(count, dtype=np.int64) % 3
        objects = np.zeros((count, SIZE, SIZE), np.uint8)
        objects[labels != 1, 2:-1, : SIZE // 2] = 1
        objects[labels != 0, 2:-1, SIZE // 2 :] = 1
        images = generator.integers(0, 100, (count, SIZE, SIZE, 3)) + 120 * objects[..., None]
        arrays = {"images": images.astype(np.uint8), "labels": labels, "saliency": objects * 200}
        if masks:
            arrays["masks"] = objects
        for kind, array in arrays.items():
            np.save(folder / f"{split}_{kind}.npy", array)
        names = [f"{split}/{i:03d}.png" for i in range(count)]
        (folder / f"{split}_files.json").write_text(json.dumps(names))
    meta = {
        "name": "halves",
        "classes": CLASSES,
        "image_size": [SIZE, SIZE],
        "mean": [0.4, 0.4, 0.4],
        "std": [0.25, 0.25, 0.25],
        "counts": counts,
        "digest": "0" * 64,
        "source": "imagefolder",
        "archives": {},
        "settings": {},
        "has_saliency": True,
        "has_masks": masks,
        "notes": [],
        "prepared_with": {},
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def run_settings(mix="none", seed=0, experiment="tiny", model="resnet8", **training):
    """Settings of a run; ``training`` overrides the recipe."""
    recipe = {"epochs": 1, "batch_size": 8, "augment": "none", "precision": "fp32"}
    return RunSettings.model_validate(
        {
            "experiment": experiment,
            "download": {"source": "digits"},
            "data": {"image_size": SIZE},
            "model": {"name": model},
            "training": recipe | training,
            "mix": {"name": mix, "method": mix, "options": {}},
            "seed": seed,
        }
    )


def write_run(
    root, wrong, *, mix="none", seed=0, labels=None, seconds=10.0, passes=100, **settings
):
    """A finished, evaluated run whose last weights err at the images ``wrong`` (N,) bool.

    The best-on-test weights err at the same images but the first of them.
    """
    folder = root / "runs" / "tiny" / mix / f"seed{seed}"
    measured = root / "evaluations" / "tiny" / mix / f"seed{seed}"
    for path in (folder, measured):
        path.mkdir(parents=True)
    run = run_settings(mix, seed, **settings)
    described = {
        "settings": run.model_dump(mode="json"),
        "digest": f"{mix}{seed}",
        "data": {"name": "halves", "digest": "0" * 64},
        "device": "cpu",
    }
    summary = {"seconds": seconds, "forward_backward_passes": 100 + seed}
    (folder / "settings.json").write_text(json.dumps(described))
    (folder / "summary.json").write_text(json.dumps(summary))
    provenance = {"run": {"digest": f"{mix}{seed}"}}
    (measured / "evaluation.json").write_text(json.dumps(provenance))
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


@pytest.fixture(scope="session", name="write_prepared")
def _write_prepared():
    return write_prepared


@pytest.fixture(scope="session", name="run_settings")
def _run_settings():
    return run_settings


@pytest.fixture(name="write_run")
def _write_run():
    return write_run


@pytest.fixture
def classifier():
    """Untrained, three classes; every pixel matters."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * SIZE * SIZE, 3)
    )
    return PixelClassifier(layers, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), SIZE)
