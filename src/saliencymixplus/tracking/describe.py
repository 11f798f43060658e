"""What MLflow shows for a run: name, parameters, tags, data set, metrics and description."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saliencymixplus import workspace
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError
from saliencymixplus.pictures import palette
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.runs.provenance import committed_text, git_state
from saliencymixplus.settings import RunSettings, load_params
from saliencymixplus.tracking.redact import redact, redact_all

DATASET_FIELDS = ("name", "digest", "source_type", "source", "profile")
SAMPLES = "samples/mixed"  # the image series

# MLflow sorts metric groups alphabetically. These names put errors and losses first, and metrics
# selected on the test images last.
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
# Also recorded without a group at the end of a run, because names with a slash must be quoted in
# MLflow's search.
HEADLINES = ("test_top1_error", "test_top5_error", "validation_top1_error")
_RESULTS = {
    "top1_error": "results/test_top1",
    "top5_error": "results/test_top5",
    "best_validation_top1_error": "results/test_top1_at_best_validation",
    "best_validation_top5_error": "results/test_top5_at_best_validation",
}
_RESULT_GROUPS = {
    "best_test_": "test_selected_optimistic",
    **dict.fromkeys(("nll", "ece", "temperature"), "reliability"),
    **dict.fromkeys(
        ("corruption_", "mean_corruption_", "relative_corruption_", "fgsm_", "pgd_", "occlusion_"),
        "robustness",
    ),
    "localisation_": "saliency",
}
NOTE = "<!-- saliencymixplus -->"  # marks a description as ours, and so replaceable
_SECTIONS = ("data", "model", "training")
_ALWAYS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "schedule",
    "augment",
    "mix_prob",
)
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


def changed_settings(run: RunSettings) -> dict[str, Any] | None:
    """The settings of ``run`` that differ from the last committed params.yaml, by name.

    Comparing with the commit covers both the command line and ``dvc exp run -S``, which rewrites
    params.yaml. Settings of the mixing recipe are called ``mix.NAME``, those of the network
    ``model.NAME``, the folder of the user's own pictures ``download.path``. None if the experiment
    or recipe has never been committed.
    """
    usual = _committed(run)
    if usual is None:
        return None
    found: dict[str, Any] = {}
    for section in _SECTIONS:
        mine = getattr(run, section).model_dump(mode="json")
        theirs = getattr(usual, section).model_dump(mode="json")
        prefix = "model." if section == "model" else ""
        found |= {f"{prefix}{k}": v for k, v in mine.items() if v != theirs.get(k)}
    if "model.name" in found:
        found = {"model": found.pop("model.name"), **found}
    if run.download.path != usual.download.path:
        found["download.path"] = run.download.path
    options = usual.mix.flat_options
    found |= {f"mix.{k}": v for k, v in run.mix.flat_options.items() if v != options.get(k)}
    return found


def parameters(run: RunSettings, changes: Mapping[str, Any]) -> dict[str, str]:
    """The main settings, plus those in ``changes``.

    Method options are included only where they differ from the method's (or variant's) defaults;
    settings.json has them all.
    """
    training, options = run.training, run.mix.flat_options
    values: dict[str, Any] = {"mix": run.mix.name}
    if run.mix.method != run.mix.name:
        values["method"] = run.mix.method
    if "variant" in options:
        values["variant"] = options["variant"]
    values |= {"model": run.model.name, "seed": run.seed}
    values |= {name: getattr(training, name) for name in _ALWAYS}
    usual = _usual_options(run)
    values |= {
        f"mix.{name}": value
        for name, value in options.items()
        if name != "variant" and (name not in usual or usual[name] != value)
    }
    values |= changes
    if experiment := os.environ.get("DVC_EXP_NAME"):
        values["dvc_experiment"] = experiment
    return {name: _text(value)[:500] for name, value in values.items()}


def run_name(run: RunSettings, changes: Mapping[str, Any] | None, identity: str) -> str:
    """The name in the list of runs: recipe, seed, and up to three changed settings.

    If these do not identify the run, the name ends with the start of the digest ``identity``, like
    the name of its folder.
    """
    changed = {name: _text(value) for name, value in (changes or {}).items()}
    shown = [f"{name} {value[:30]}" for name, value in list(changed.items())[:3]]
    if len(changed) > 3:
        shown.append(f"{len(changed) - 3} more")
    if changes is None or len(changed) > 3 or any(len(value) > 30 for value in changed.values()):
        shown.append(identity[:8])
    return " · ".join((run.mix.name, f"seed {run.seed}", *shown))


def model_name(card: TrackingFile, which: str) -> str:
    """MLflow's name for the model of a run's weights ``which``."""
    mix, seed = card.params.get("mix", "model"), card.params.get("seed", "")
    return f"{mix}-seed{seed}-{which}"


def result_name(name: str) -> str:
    """MLflow's name for an evaluation metric."""
    if name in _RESULTS:
        return _RESULTS[name]
    groups = (group for start, group in _RESULT_GROUPS.items() if name.startswith(start))
    return f"{next(groups, 'results')}/{name}"


def note(rows: Sequence[EpochRow], results: Mapping[str, float]) -> str:
    """The run's description: a Markdown table of its results.

    ``results`` are its evaluation metrics under MLflow's names; empty before the evaluation.
    """
    last = rows[-1]
    lines = [NOTE, f"After {last.epoch} epochs (errors in percent):", "", "| | |", "|---|---|"]
    table = {
        "test error, top-1": last.test_top1_error,
        "test error, top-5": last.test_top5_error,
        "validation error, top-1": last.validation_top1_error,
        "test error of the best validation epoch": results.get(
            _RESULTS["best_validation_top1_error"]
        ),
        "negative log-likelihood": results.get("reliability/nll"),
        "expected calibration error": results.get("reliability/ece"),
        "mean error on corrupted images": results.get("robustness/mean_corruption_error"),
        "training time in seconds": sum(row.seconds for row in rows),
        "lowest test error of any epoch (optimistic: the test images select it)": min(
            (row.test_top1_error for row in rows if row.test_top1_error is not None), default=None
        ),
    }
    lines += [f"| {name} | {value:.2f} |" for name, value in table.items() if value is not None]
    lines += ["", "All settings: `settings.json` under *Artifacts*; curves: *Model metrics*."]
    return "\n".join(lines)


def tags(run: RunSettings, identity: str) -> dict[str, str]:
    """The run's provenance (code, DVC stage and experiment, settings) and its colour."""
    return {
        "mlflow.runColor": _colour(run),
        "settings_digest": identity,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        **{_GIT[name]: value for name, value in git_state(workspace.checkout_root()).items()},
        **{tag: os.environ[name] for name, tag in _DVC.items() if os.environ.get(name)},
    }


def dataset(run: RunSettings, data: dict[str, Any]) -> dict[str, str]:
    """The fields of MLflow's data set record; ``digest`` is truncated to MLflow's limit."""
    source = run.download.model_dump(mode="json", exclude_defaults=True)
    profile = {key: value for key, value in data.items() if key not in ("digest", "name")}
    return {
        "name": str(data["name"]),
        "digest": str(data["digest"])[:36],
        "source_type": "local",
        "source": json.dumps(redact_all(source)),
        "profile": json.dumps(redact_all(profile), default=str)[:16000],
    }


def _committed(run: RunSettings) -> RunSettings | None:
    root = workspace.checkout_root()
    path, text = root / "params.yaml", committed_text(root, "params.yaml")
    try:
        params = load_params(path, text=text)
        return params.run(run.experiment, run.mix.name, run.seed)
    except UserError:  # no such file, one of another version, or no such experiment or recipe
        return None


def _usual_options(run: RunSettings) -> dict[str, Any]:
    """The default options of each method or variant."""
    from saliencymixplus.mixing import resolve_options

    usual: dict[str, Any] = {}
    for _, recipe in run.mix.members:
        variant = {k: v for k, v in recipe.options.items() if k == "variant"}
        own = {"method": recipe.name} | resolve_options(recipe.method, variant)
        prefix = "" if recipe is run.mix else f"{recipe.name}."
        usual |= {f"{prefix}{key}": value for key, value in own.items()}
    return usual


def _colour(run: RunSettings) -> str:
    """The colour of the run's curves: one hue per recipe, in five shades by seed."""
    base, _ = palette.look(run.mix.name)
    shade = 0.15 * (run.seed % 5)
    parts = (int(base[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * shade):02x}" for part in parts)


def _text(value: Any) -> str:
    return redact(value if isinstance(value, str) else json.dumps(value))
