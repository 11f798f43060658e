"""The settings of a run that differ from those committed for its experiment."""

from typing import Any

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.runs.provenance import committed_text
from saliencymixplus.settings import RunSettings, load_params

_SECTIONS = ("data", "model", "training")


def changed_settings(run: RunSettings) -> dict[str, Any]:
    """The settings of ``run`` that differ from the last committed params.yaml, by name.

    Comparing with the commit covers both the command line and ``dvc exp run -S``, which rewrites
    params.yaml. Settings of the mixing recipe are called ``mix.NAME``, those of the network
    ``model.NAME``. Empty if the experiment or recipe has never been committed.
    """
    usual = _committed(run)
    if usual is None:
        return {}
    found: dict[str, Any] = {}
    for section in _SECTIONS:
        mine = getattr(run, section).model_dump(mode="json")
        theirs = getattr(usual, section).model_dump(mode="json")
        prefix = "model." if section == "model" else ""
        found |= {f"{prefix}{k}": v for k, v in mine.items() if v != theirs.get(k)}
    if "model.name" in found:
        found = {"model": found.pop("model.name"), **found}
    options = usual.mix.flat_options
    found |= {f"mix.{k}": v for k, v in run.mix.flat_options.items() if v != options.get(k)}
    return found


def _committed(run: RunSettings) -> RunSettings | None:
    root = workspace.checkout_root()
    try:
        params = load_params(root / "params.yaml", text=committed_text(root, "params.yaml"))
        return params.run(run.experiment, run.mix.name, run.seed)
    except UserError:  # none, of another version, or without this experiment or recipe
        return None
