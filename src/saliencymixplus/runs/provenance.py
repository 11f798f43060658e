"""The provenance of a result: commit, library versions, device."""

import os
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
    """The device with its model, e.g. ``cuda (NVIDIA H100 80GB HBM3)`` or ``cpu (…, 2 cores)``."""
    return f"{device.type} ({device_name(device)})"


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with its number of logical cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    """The processor's name; its architecture where the system does not tell."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            names = (line.partition(":")[2].strip() for line in file if "model name" in line)
            return next(names)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command; None if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
