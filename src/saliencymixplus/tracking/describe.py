"""What a run is called and which few of its settings are shown beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from saliencymixplus import workspace
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking.redact import redact, redact_all

# What decides a result; the tables and figures that the pipeline itself rewrites do not count.
_SOURCES = ("src", "cli.py", "params.yaml", "dvc.yaml", "data.dvc", "pyproject.toml")
_DVC = {
    "DVC_STAGE": "dvc.stage",
    "DVC_EXP_NAME": "dvc.experiment",
    "DVC_EXP_BASELINE_REV": "dvc.baseline",
}


def run_name(run: RunSettings) -> str:
    """What the list of runs shows."""
    return f"{run.mix.name} · seed {run.seed}"


def parameters(run: RunSettings) -> dict[str, str]:
    """The settings that runs are compared by; settings.json has all."""
    training = run.training
    values: dict[str, Any] = {
        "mix": run.mix.name,
        "method": run.mix.method,
        "seed": run.seed,
        "model": run.model.name,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "schedule": training.schedule,
        "weight_decay": training.weight_decay,
        "mix_prob": training.mix_prob,
        "augment": training.augment,
    }
    values |= {f"mix.{name}": value for name, value in run.mix.options.items()}
    return {name: _text(value)[:500] for name, value in values.items()}


def tags(identity: str) -> dict[str, str]:
    """Where the run comes from: code, DVC stage and experiment, settings."""
    return {
        "settings_digest": identity,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name or "python",
        **_git(workspace.checkout_root()),
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


def _text(value: Any) -> str:
    return redact(value if isinstance(value, str) else json.dumps(value))


def _git(folder: Path) -> dict[str, str]:
    commit = _run_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _run_git(folder, "status", "--porcelain", "--", *_SOURCES)
    found = {
        "mlflow.source.git.commit": commit,
        "git.dirty": "unknown" if changes is None else str(bool(changes)).lower(),
    }
    branch = _run_git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if branch and branch != "HEAD":
        found["mlflow.source.git.branch"] = branch
    return found


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; ``None`` where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
