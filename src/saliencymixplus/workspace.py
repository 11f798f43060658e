"""Locate the repository, its outputs and the resume state.

A run must find the same database and resume state from any working directory in the repository,
and from the temporary copies in which DVC runs queued experiments.
"""

import os
from pathlib import Path

from saliencymixplus.errors import UserError

# Folders at the top of the repository that the pipeline fills, and may empty.
OUTPUTS = (
    "pipeline",
    "runs",
    "evaluations",
    "audits",
    "reports",
    "ablation",
    "study",
    ".saliencymixplus",
)
# DVC copies the repository below one of these for `dvc exp run --queue` and `--temp`.
_DVC_COPIES = (".dvc", "tmp", "exps")


def checkout_root(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` (default: working directory) with params.yaml."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    return here


def repository_root() -> Path:
    """Like ``checkout_root``, but maps DVC's temporary copies to the original repository."""
    root = checkout_root()
    parts = root.parts
    for i in range(len(parts) - len(_DVC_COPIES)):
        if parts[i : i + len(_DVC_COPIES)] == _DVC_COPIES:
            return checkout_root(Path(*parts[:i]))  # the copies may be of ablation/
    return root


def project_path(*parts: str | Path) -> Path:
    """A path below the checkout's root; relative if the working directory is that root."""
    root = checkout_root()
    return Path(*parts) if root == Path.cwd().resolve() else root.joinpath(*parts)


def expanded(path: str | Path) -> Path:
    """``path`` with a leading ``~`` or ``~USER`` replaced by that user's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: there is no such user, write the path in full") from error


def output_above(path: Path) -> str | None:
    """The top-level pipeline output folder that contains ``path``, or None.

    DVC deletes outputs before it runs a stage, whatever their content.
    """
    for root in (checkout_root(), repository_root()):
        for base in (Path.cwd(), root):
            place = (base / expanded(path)).resolve()
            for name in OUTPUTS:
                if place.is_relative_to(root / name):
                    return name
    return None


def state_root() -> Path:
    """The folder of resume state and unsent records; set by ``SALIENCYMIXPLUS_STATE``."""
    chosen = os.environ.get("SALIENCYMIXPLUS_STATE")
    root = expanded(chosen) if chosen else repository_root() / ".saliencymixplus"
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file where the state folder belongs: move it away")
    return root
