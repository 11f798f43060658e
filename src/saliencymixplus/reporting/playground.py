"""Data for the report's playground: images of the experiment with their saliency maps and masks."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from saliencymixplus.datasets.prepared import Prepared, Split, load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.loading.load_batch import load_batch
from saliencymixplus.mixing import gradient_saliency
from saliencymixplus.pictures.grid import pixels_of
from saliencymixplus.reporting.document import Block, Playground
from saliencymixplus.reporting.run_data import Runs
from saliencymixplus.runs.read import Run

COUNT = 8  # images to choose from
LARGEST = 112  # side in pixels; larger images are reduced
OBJECT = 1  # in a mask
INTRODUCTION = (
    "Drag the box on image a, or move it with the arrow keys (with Shift: change its size). λ is "
    "the weight of image a's label. CutMix takes a's fraction of the pixels."
)
BY_SALIENCY = " SaliencyMix+ compares how much of each image's saliency stays visible."
BY_MASKS = " Object masks give the truth: how much of each object stays visible."


def playground_section(runs: Runs, prepared: Path | None) -> list[Block]:
    """The playground, or nothing without prepared images."""
    if prepared is None or not (prepared / "meta.json").is_file():
        return []
    data = playground_data(load_prepared(prepared), _network(runs))
    first = data["images"][0]
    introduction = INTRODUCTION
    introduction += BY_SALIENCY if first["saliency"] else ""
    introduction += BY_MASKS if first["mask"] else ""
    return ["## Mix two images by hand", Playground(introduction, data)]


def playground_data(data: Prepared, run: Run | None) -> dict[str, Any]:
    """Images, saliency maps and masks as data URLs.

    The saliency maps are gradients of ``run``'s last weights or, without a run, the stored maps.
    """
    split = data.split("test")
    rows = _one_of_each_class(split)
    size = min(max(data.meta.image_size), LARGEST)
    batch = load_batch(split, rows, data.meta, size)
    maps, source = batch.saliency, "stored maps"
    if run is not None:
        if run.data.classes != data.meta.classes:
            raise UserError(f"{run.path} was trained on classes other than those of {data.path}")
        whole = load_batch(split, rows, data.meta, run.settings.training.crop_size)
        gradient, _ = gradient_saliency(run.model("last"), whole.images, whole.labels)
        maps = torch.nn.functional.interpolate(
            gradient[:, None], (size, size), mode="bilinear", antialias=True
        )[:, 0]
        source = "gradients of the trained network"
    pixels = pixels_of(batch.images, data.meta.mean, data.meta.std)
    return {
        "size": size,
        "saliency": source,
        "images": [
            {
                "name": data.meta.classes[int(batch.labels[i])].replace("_", " "),
                "image": _png(pixels[i]),
                "saliency": None if maps is None else _png(_bytes(maps[i].float().numpy())),
                "mask": None
                if batch.masks is None
                else _png(np.where(batch.masks[i].numpy() == OBJECT, 255, 0).astype(np.uint8)),
            }
            for i in range(len(rows))
        ],
    }


def _network(runs: Runs) -> Run | None:
    """A run whose gradients show the saliency: SaliencyMix+'s first seed, or else any."""
    seeds = runs.get("saliencymixplus") or next(iter(runs.values()))
    return next((found.run for found in seeds if "last" in found.run.weights), None)


def _one_of_each_class(split: Split) -> list[int]:
    """The first test image of each of the first ``COUNT`` classes, then others up to ``COUNT``."""
    labels = np.asarray(split.labels)
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:COUNT]]
    others: Sequence[int] = [i for i in range(len(labels)) if i not in first]
    return [*first, *others[: COUNT - len(first)]]


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The map scaled to a peak of 255."""
    values = np.nan_to_num(np.maximum(values, 0))
    return np.round(values / max(float(values.max()), 1e-30) * 255).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
