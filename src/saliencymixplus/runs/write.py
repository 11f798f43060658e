"""Write the folder of a finished run."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.context import TrainingContext, TrainingState, state_of
from saliencymixplus.engine.digest import code_digest
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.files import write_atomically, write_json
from saliencymixplus.models import parameter_count
from saliencymixplus.runs.folder import DataFacts
from saliencymixplus.runs.history import write_history
from saliencymixplus.runs.provenance import device_text, git_state, versions
from saliencymixplus.workspace import checkout_root


def write_run(
    output: Path, context: TrainingContext, folder: Path, tracking: dict[str, Any]
) -> dict[str, Any]:
    """Write a finished run to the empty folder ``output`` and return its summary.

    Args:
        folder: the run's state folder; settings.json and samples/ are copied from it.
        tracking: the content of tracking.json.
    """
    state, parts = context.state, context.parts
    summary = summarise(state, parameter_count(parts.step.local), context.meta)
    weights = {"last": (state.epoch, state_of(parts.evaluated))}
    for name, epoch in state.best.items():
        weights[name] = (epoch, state.weights.get(epoch, weights["last"][1]))
    for epoch in context.run.training.weights_epochs:
        if epoch in state.weights:
            weights[f"epoch_{epoch:04d}"] = (epoch, state.weights[epoch])
    shutil.copyfile(folder / "settings.json", output / "settings.json")
    write_history(output / "history.csv", state.history)
    write_json(output / "summary.json", summary)
    write_json(output / "tracking.json", tracking)
    for name, (epoch, tensors) in weights.items():
        path = output / "weights" / f"{name}.safetensors"
        about = _about(name, epoch, context) | {"sha256": _write_weights(path, tensors)}
        write_json(path.with_suffix(".json"), about)
    (output / "samples").mkdir()
    for image in sorted((folder / "samples").glob("*.png")):
        shutil.copyfile(image, output / "samples" / image.name)
    return summary


def summarise(state: TrainingState, parameters: int, meta: Meta) -> dict[str, Any]:
    """The content of summary.json: numbers only, as ``dvc metrics`` requires."""
    rows = state.history
    epochs = {"last": state.epoch, **state.best}
    speeds = [row.images_per_second for row in rows]
    return {
        **{name: _errors(rows[epoch - 1]) for name, epoch in epochs.items()},
        "epochs": state.epoch,
        "seconds": round(sum(row.seconds for row in rows), 3),
        "images_per_second": round(float(np.median(speeds)), 1) if speeds else 0.0,
        "forward_backward_passes": round(sum(row.forward_backward_passes for row in rows), 3),
        "parameters": parameters,
        "train_images": meta.counts["train"],
    }


def _errors(row: EpochRow) -> dict[str, float]:
    """Errors of one epoch in percent; ``top1_error`` and ``top5_error`` are on the test split."""
    names = {
        "top1_error": "test_top1_error",
        "top5_error": "test_top5_error",
        "validation_top1_error": "validation_top1_error",
        "validation_top5_error": "validation_top5_error",
    }
    found = {"epoch": row.epoch, **{name: getattr(row, key) for name, key in names.items()}}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def write_settings(path: Path, context: TrainingContext) -> None:
    """Write settings.json: all settings, the data and the provenance.

    It is written to the state folder before the first step, so that tracking has it from the
    start, and copied when the run is published.
    """
    git, facts = git_state(checkout_root()), context.meta.model_dump(mode="json")
    content = {
        "settings": context.run.model_dump(mode="json"),
        "digest": context.digest,
        "code": code_digest(*context.run.mix.methods),
        "data": {name: facts[name] for name in DataFacts.model_fields},
        "versions": versions(),
        "device": device_text(context.device),
        "git": {"commit": git.get("commit"), "dirty": git.get("dirty")},
    }
    write_json(path, content)


def _about(name: str, epoch: int, context: TrainingContext) -> dict[str, Any]:
    """The metadata needed to use the weights without the rest of the run."""
    run, meta = context.run, context.meta
    return {
        "weights": name,
        "model": run.model.name,
        "stem": run.model.stem,
        "classes": meta.classes,
        "input_size": list(context.parts.step.source.augmentation.output),
        "pixels": "RGB / 255, then (x - mean) / std",
        "mean": list(meta.mean),
        "std": list(meta.std),
        "mix": run.mix.model_dump(mode="json"),
        "seed": run.seed,
        "digest": context.digest,
        "data": meta.name,
        **_errors(context.state.history[epoch - 1]),
    }


def _write_weights(path: Path, state: dict[str, Tensor]) -> str:
    """Write the file and return its SHA-256."""
    from safetensors.torch import save

    # safetensors refuses tensors that share memory, and a disk's errors in its save_file are not
    # OSErrors.
    data = save({name: tensor.clone() for name, tensor in state.items()})
    write_atomically(path, lambda part: part.write_bytes(data))
    return hashlib.sha256(data).hexdigest()
