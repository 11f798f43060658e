"""The provenance of a result: commit, library versions, device."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import saliencymixplus

# Files that affect results, without those that the pipeline itself rewrites (tables, data.dvc).
_SOURCES = ("src", "cli.py", "params.yaml", "dvc.yaml", "pyproject.toml")


def git_state(folder: Path) -> dict[str, str]:
    """``commit``, ``dirty`` (true, false or unknown) and ``branch`` of the repository.

    Empty without git or a repository; there is no ``branch`` if none is checked out.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changes = _git(folder, "status", "--porcelain", "--", *_SOURCES)
    found = {
        "commit": commit,
        "dirty": "unknown" if changes is None else str(bool(changes)).lower(),
    }
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if branch and branch != "HEAD":
        found["branch"] = branch
    return found


def committed_text(folder: Path, name: str) -> str | None:
    """The last committed text of a file below ``folder``; None if it was never committed."""
    return _git(folder, "show", f"HEAD:./{name}")


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that results depend on."""
    return {
        "saliencymixplus": saliencymixplus.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
    }


def device_text(device: torch.device) -> str:
    """The device with its model, e.g. ``cuda (NVIDIA H100 80GB HBM3)`` or ``cpu (x86_64)``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device.type} ({name})"


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command; None if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
