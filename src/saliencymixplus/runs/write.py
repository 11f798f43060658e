"""Writing a finished run's folder: whole, or not at all."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import saliencymixplus
from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.build import Assembly
from saliencymixplus.engine.state import Progressed, state_of
from saliencymixplus.files import whole_directory, write_atomically, write_json
from saliencymixplus.models import parameter_count
from saliencymixplus.runs.history import Row, write_history
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import Tracker, describe


def publish(
    output: Path,
    run: RunSettings,
    meta: Meta,
    digest: str,
    parts: Assembly,
    progressed: Progressed,
    samples: Path,
    tracker: Tracker,
) -> dict[str, Any]:
    """Write the run's folder ``output`` and return the summary."""
    summary = summarise(progressed, parameter_count(parts.step.local), meta)
    weights = {"last": (progressed.epoch, state_of(parts.evaluated))}
    for name, epoch in progressed.bests.items():
        state = progressed.weights.get(epoch)
        weights[name] = (epoch, state if state is not None else weights["last"][1])
    for epoch in run.training.weights_epochs:
        if epoch in progressed.weights:
            weights[f"epoch_{epoch:04d}"] = (epoch, progressed.weights[epoch])
    for pattern in (f".{output.name}.*.part", f".{output.name}.*.old"):
        for left in output.parent.glob(pattern):  # by a process that was killed just here
            shutil.rmtree(left, ignore_errors=True)
    with whole_directory(output) as part:
        write_json(part / "settings.json", _settings(run, meta, digest, parts))
        write_history(part / "history.csv", progressed.history)
        write_json(part / "summary.json", summary)
        write_json(part / "tracking.json", tracker.reference)
        (part / "weights").mkdir()
        for name, (epoch, state) in weights.items():
            path = part / "weights" / f"{name}.safetensors"
            _write_weights(path, state)
            row = progressed.history[epoch - 1]
            write_json(path.with_suffix(".json"), _about(name, row, run, meta, digest, parts))
        (part / "samples").mkdir()
        for image in sorted(samples.glob("*.png")):
            shutil.copyfile(image, part / "samples" / image.name)
    return summary


def summarise(progressed: Progressed, parameters: int, meta: Meta) -> dict[str, Any]:
    """The end figures: numbers only, as ``dvc metrics`` wants them."""
    rows = progressed.history
    epochs = {"last": progressed.epoch, **progressed.bests}
    speeds = [row["images_per_second"] for row in rows if row["images_per_second"]]
    return {
        **{name: _errors(rows[epoch - 1]) for name, epoch in epochs.items()},
        "epochs": progressed.epoch,
        "seconds": round(sum(row["seconds"] or 0.0 for row in rows), 3),
        "images_per_second": round(float(np.median(speeds)), 1) if speeds else 0.0,
        "forward_backward_passes": round(
            sum(row["forward_backward_passes"] or 0.0 for row in rows), 3
        ),
        "parameters": parameters,
        "train_images": meta.counts["train"],
    }


def _errors(row: Row) -> dict[str, float]:
    """The figures of one epoch; ``top1_error`` and ``top5_error`` are those on the test split."""
    names = {
        "top1_error": "test_top1_error",
        "top5_error": "test_top5_error",
        "validation_top1_error": "validation_top1_error",
        "validation_top5_error": "validation_top5_error",
    }
    found = {"epoch": row["epoch"], **{name: row.get(key) for name, key in names.items()}}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def _settings(run: RunSettings, meta: Meta, digest: str, parts: Assembly) -> dict[str, Any]:
    tags = describe.tags(run, digest)
    device = parts.step.source.device
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
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
        "versions": {
            "saliencymixplus": saliencymixplus.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
            "numpy": np.__version__,
        },
        "device": f"{device.type} ({named})",
        "git": {
            "commit": tags.get("mlflow.source.git.commit"),
            "dirty": tags.get("git.dirty"),
        },
    }


def _about(
    name: str, row: Row, run: RunSettings, meta: Meta, digest: str, parts: Assembly
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
