"""Writing a finished run's folder: whole, or not at all."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.build import Assembly
from saliencymixplus.engine.state import Progressed, state_of
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.files import whole_directory, write_atomically, write_json
from saliencymixplus.models import parameter_count
from saliencymixplus.runs.history import write_history
from saliencymixplus.runs.provenance import device_text, git_state, versions
from saliencymixplus.settings import RunSettings
from saliencymixplus.workspace import checkout_root


def publish(
    output: Path,
    run: RunSettings,
    meta: Meta,
    digest: str,
    parts: Assembly,
    progressed: Progressed,
    state: Path,
    tracking: dict[str, Any],
) -> dict[str, Any]:
    """Write the run's folder ``output`` and return the summary.

    Args:
        state: the run's state folder, of which settings.json and samples/ are copied.
        tracking: the content of tracking.json.
    """
    summary = summarise(progressed, parameter_count(parts.step.local), meta)
    weights = {"last": (progressed.epoch, state_of(parts.evaluated))}
    for name, epoch in progressed.bests.items():
        weights[name] = (epoch, progressed.weights.get(epoch, weights["last"][1]))
    for epoch in run.training.weights_epochs:
        if epoch in progressed.weights:
            weights[f"epoch_{epoch:04d}"] = (epoch, progressed.weights[epoch])
    for pattern in (f".{output.name}.*.part", f".{output.name}.*.old"):
        for left in output.parent.glob(pattern):  # by a process that was killed just here
            shutil.rmtree(left, ignore_errors=True)
    with whole_directory(output) as part:
        shutil.copyfile(state / "settings.json", part / "settings.json")
        write_history(part / "history.csv", progressed.history)
        write_json(part / "summary.json", summary)
        write_json(part / "tracking.json", tracking)
        (part / "weights").mkdir()
        for name, (epoch, tensors) in weights.items():
            path = part / "weights" / f"{name}.safetensors"
            _write_weights(path, tensors)
            row = progressed.history[epoch - 1]
            write_json(path.with_suffix(".json"), _about(name, row, run, meta, digest, parts))
        (part / "samples").mkdir()
        for image in sorted((state / "samples").glob("*.png")):
            shutil.copyfile(image, part / "samples" / image.name)
    return summary


def summarise(progressed: Progressed, parameters: int, meta: Meta) -> dict[str, Any]:
    """The end figures: numbers only, as ``dvc metrics`` wants them."""
    rows = progressed.history
    epochs = {"last": progressed.epoch, **progressed.bests}
    speeds = [row.images_per_second for row in rows]
    return {
        **{name: _errors(rows[epoch - 1]) for name, epoch in epochs.items()},
        "epochs": progressed.epoch,
        "seconds": round(sum(row.seconds for row in rows), 3),
        "images_per_second": round(float(np.median(speeds)), 1) if speeds else 0.0,
        "forward_backward_passes": round(sum(row.forward_backward_passes for row in rows), 3),
        "parameters": parameters,
        "train_images": meta.counts["train"],
    }


def _errors(row: EpochRow) -> dict[str, float]:
    """The figures of one epoch; ``top1_error`` and ``top5_error`` are those on the test split."""
    names = {
        "top1_error": "test_top1_error",
        "top5_error": "test_top5_error",
        "validation_top1_error": "validation_top1_error",
        "validation_top5_error": "validation_top5_error",
    }
    found = {"epoch": row.epoch, **{name: getattr(row, key) for name, key in names.items()}}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def write_settings(
    path: Path, run: RunSettings, meta: Meta, digest: str, device: torch.device
) -> None:
    """Write settings.json: all settings, the data, and where the result comes from.

    A training writes it into its state folder before the first step, so that tracking has it from
    the start; publishing copies it.
    """
    git = git_state(checkout_root())
    content = {
        "settings": run.model_dump(mode="json"),
        "digest": digest,
        "data": {
            "digest": meta.digest,
            "name": meta.name,
            "classes": meta.classes,
            "image_size": list(meta.image_size),
            "mean": list(meta.mean),
            "std": list(meta.std),
            "counts": meta.counts,
        },
        "versions": versions(),
        "device": device_text(device),
        "git": {"commit": git.get("commit"), "dirty": git.get("dirty")},
    }
    write_json(path, content)


def _about(
    name: str, row: EpochRow, run: RunSettings, meta: Meta, digest: str, parts: Assembly
) -> dict[str, Any]:
    """What someone who has nothing but the weights needs to know."""
    return {
        "weights": name,
        "model": run.model.name,
        "stem": run.model.stem,
        "classes": meta.classes,
        "input_size": list(parts.step.source.augmentation.output),
        "pixels": "RGB / 255, then (x - mean) / std",
        "mean": list(meta.mean),
        "std": list(meta.std),
        "mix": run.mix.model_dump(mode="json"),
        "seed": run.seed,
        "digest": digest,
        "data": meta.name,
        **_errors(row),
    }


def _write_weights(path: Path, state: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    # Tensors that share memory are refused: each gets its own.
    write_atomically(path, lambda part: save_file({k: t.clone() for k, t in state.items()}, part))
