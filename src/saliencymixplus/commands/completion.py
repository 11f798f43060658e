"""The names that shells complete."""

import pkgutil
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.workspace import project_path


def method_names() -> list[str]:
    """The mixing methods, listed by file name because importing them (with torch) takes seconds."""
    folder = Path(__file__).parents[1] / "mixing" / "methods"
    return [file.name for file in pkgutil.iter_modules([str(folder)]) if file.name[0] != "_"]


def experiments() -> list[str]:
    """Experiments in the default params.yaml."""
    sections = _raw_params().items()
    return [str(name) for name, section in sections if "download" in (section or ())]


def recipes() -> list[str]:
    """Mixing methods, and recipes in the default params.yaml."""
    raw = _raw_params()
    named = [raw.get("mix"), raw.get("methods"), (raw.get("ablation") or {}).get("methods")]
    return sorted({*method_names(), *(str(name) for names in named for name in names or ())})


def _raw_params() -> dict[str, Any]:
    from saliencymixplus.settings.raw import read_yaml

    try:
        return read_yaml(project_path("params.yaml"))
    except UserError:
        return {}  # nothing to complete
