"""A small prepared data set with masks, written as `prepare` writes it."""

import json

import numpy as np
import pytest


def write_prepared(folder, *, images=24, size=12, masks=True, seed=0):
    """Noise images; the object of image i is a rectangle that differs from image to image."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    counts = {"train": images, "test": 8}
    for split, count in counts.items():
        objects = np.zeros((count, size, size), np.uint8)
        for i in range(count):
            r, c = generator.integers(0, size // 2, 2)
            objects[i, r : r + size // 3, c : c + size // 2] = 1
        arrays = {
            "images": generator.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
            "labels": np.arange(count, dtype=np.int64) % 3,
            "saliency": objects * 200,
        }
        if masks:
            arrays["masks"] = objects
        for kind, array in arrays.items():
            np.save(folder / f"{split}_{kind}.npy", array)
        names = [f"{split}/{i:03d}.png" for i in range(count)]
        (folder / f"{split}_files.json").write_text(json.dumps(names))
    meta = {
        "name": "rectangles",
        "classes": ["one", "two", "three"],
        "image_size": [size, size],
        "mean": [0.5, 0.5, 0.5],
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


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "prepared")


@pytest.fixture
def prepared_without_masks(tmp_path):
    return write_prepared(tmp_path / "bare", masks=False)
