"""What a run is called and which few of its settings are shown beside it."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from saliencymixplus import workspace
from saliencymixplus.pictures import palette
from saliencymixplus.runs.provenance import git_state
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking.redact import redact, redact_all

DATASET_FIELDS = ("name", "digest", "source_type", "source", "profile")
SAMPLES = "samples/mixed"  # the series of images

# The groups of MLflow's charts are in alphabetical order. What is not here is not recorded.
METRICS = {
    "test_top1_error": "error/test_top1",
    "test_top5_error": "error/test_top5",
    "train_clean_top1_error": "error/train_clean_top1",
    "train_mixed_top1_error": "error/train_mixed_top1",
    "validation_top1_error": "error/validation_top1",
    "validation_top5_error": "error/validation_top5",
    "test_loss": "loss/test",
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "learning_rate": "schedule/learning_rate",
    "mean_lam": "schedule/mean_lam",
    "forward_backward_passes": "speed/forward_backward_passes",
    "images_per_second": "speed/images_per_second",
    "seconds": "speed/seconds",
}
_GIT = {
    "commit": "mlflow.source.git.commit",
    "branch": "mlflow.source.git.branch",
    "dirty": "git.dirty",
}
_DVC = {
    "DVC_STAGE": "dvc.stage",
    "DVC_EXP_NAME": "dvc.experiment",
    "DVC_EXP_BASELINE_REV": "dvc.baseline",
}


def run_name(run: RunSettings) -> str:
    """What the list of runs shows."""
    return f"{run.mix.name} · seed {run.seed}"


def parameters(run: RunSettings) -> dict[str, str]:
    """The few settings that runs are compared by: MLflow prints them beside every image.

    Of the method's options only those that differ from its (or its variant's) own values;
    settings.json has everything.
    """
    training = run.training
    options = run.mix.options
    values: dict[str, Any] = {"mix": run.mix.name}
    if run.mix.method != run.mix.name:
        values["method"] = run.mix.method
    if "variant" in options:
        values["variant"] = options["variant"]
    values |= {
        "model": run.model.name,
        "seed": run.seed,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "mix_prob": training.mix_prob,
    }
    usual = _usual_options(run)
    values |= {
        f"mix.{name}": value
        for name, value in options.items()
        if name != "variant" and (name not in usual or usual[name] != value)
    }
    return {name: _text(value)[:500] for name, value in values.items()}


def result_name(name: str) -> str:
    """What MLflow calls a metric of an evaluation."""
    return f"results/{name}"


def tags(run: RunSettings, identity: str) -> dict[str, str]:
    """Where the run comes from: code, DVC stage and experiment, settings; and its colour."""
    return {
        "mlflow.runColor": _colour(run),
        "settings_digest": identity,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        **{_GIT[name]: value for name, value in git_state(workspace.checkout_root()).items()},
        **{tag: os.environ[name] for name, tag in _DVC.items() if os.environ.get(name)},
    }


def dataset(run: RunSettings, data: dict[str, Any]) -> dict[str, str]:
    """The fields of MLflow's record of a data set; ``digest`` is cut to what MLflow takes."""
    source = run.download.model_dump(mode="json", exclude_defaults=True)
    profile = {key: value for key, value in data.items() if key not in ("digest", "name")}
    return {
        "name": str(data.get("name", run.experiment)),
        "digest": str(data["digest"])[:36],
        "source_type": "local",
        "source": json.dumps(redact_all(source)),
        "profile": json.dumps(redact_all(profile), default=str)[:16000],
    }


def _usual_options(run: RunSettings) -> dict[str, Any]:
    from saliencymixplus.mixing import resolve_options

    variant = {k: v for k, v in run.mix.options.items() if k == "variant"}
    return resolve_options(run.mix.method, variant)


def _colour(run: RunSettings) -> str:
    """Of the run's curves: one hue per mixing recipe, lighter with the seed, for five seeds."""
    base = palette.colour(run.mix.name)
    share = 0.15 * (run.seed % 5)
    parts = (int(base[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


def _text(value: Any) -> str:
    return redact(value if isinstance(value, str) else json.dumps(value))
