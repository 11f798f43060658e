"""``methods``, ``models`` and ``experiments``: list the available choices, one per line."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from saliencymixplus.commands import options

Entries = Sequence[dict[str, Any]]


def methods(
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """List the mixing methods, their presets, and the recipes in params.yaml."""
    loaded = options.load(params, set_)
    recipes = loaded.top.mix

    from saliencymixplus.mixing import METHODS, PRESETS

    found: list[dict[str, Any]] = [
        {
            "name": method.name,
            "kind": "method",
            "label": method.label,
            "year": method.year,
            "summary": method.summary,
            "paper": method.paper,
            "options": asdict(method.options()),
        }
        for method in METHODS.values()
    ]
    own = {name: recipe for name, recipe in recipes.items() if name not in METHODS}
    presets = {
        name: {"method": method.name, **method.recipes[name]}
        for name, method in PRESETS.items()
        if name not in own
    }
    for kind, named in (("preset", presets), ("recipe", own)):
        for name, recipe in named.items():
            changed = {key: value for key, value in recipe.items() if value is not None}
            method = changed.pop("method", name)
            changes = ", ".join(f"{key} {value}" for key, value in changed.items())
            summary = f"{method} with {changes}" if changes else str(method)
            if "switch" in changed:
                members = loaded.mix(name).members
                summary = ", ".join(f"{member.name} {p:.0%}" for p, member in members)
                summary += ", drawn for each batch"
            found.append({"name": name, "kind": kind, "summary": summary, "options": changed})
    _print(found, [entry["summary"] + _cited(entry) for entry in found], as_json)


def models(as_json: options.AsJson = False) -> None:
    """List the networks."""
    import torch
    from torchvision.models import get_model_weights

    from saliencymixplus.models import create_model, model_names, parameter_count

    def described(name: str) -> dict[str, Any]:
        try:
            parameters = next(iter(get_model_weights(name))).meta["num_params"]
            source = "torchvision"
        except ValueError:  # not a torchvision network
            with torch.device("meta"):
                parameters = parameter_count(create_model(name, 10, 32))
            source = "for small images"
        return {"name": name, "from": source, "parameters": int(parameters)}

    found = [described(name) for name in model_names()]
    lines = [f"{m['parameters'] / 1e6:6.2f} M parameters, {m['from']}" for m in found]
    _print(found, lines, as_json)
    if not as_json:
        typer.echo("timm/NAME: any network in the timm package, if installed")


def experiments(
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """List the experiments in params.yaml; `dvc repro` runs those marked with *."""
    loaded = options.load(params, set_)
    found = [
        {
            "name": name,
            "source": section.download.source,
            "image_size": section.data.image_size,
            "model": section.model.name,
            "epochs": section.training.epochs,
            "batch_size": section.training.batch_size,
            "pipeline": name in loaded.top.experiments,
        }
        for name, section in loaded.sections.items()
    ]
    lines = [
        f"{'*' if entry['pipeline'] else ' '} {entry['source']} at {entry['image_size']} px, "
        f"{entry['model']}, {entry['epochs']} epochs, batch {entry['batch_size']}"
        for entry in found
    ]
    _print(found, lines, as_json)


def _cited(entry: dict[str, Any]) -> str:
    year, paper = str(entry.get("year") or ""), entry.get("paper", "")
    cited = ", ".join(part for part in (year if year not in paper else "", paper) if part)
    return f" ({cited})" if cited else ""


def _print(found: Entries, lines: Sequence[str], as_json: bool) -> None:
    if as_json:
        options.print_json(found)
        return
    width = max((len(entry["name"]) for entry in found), default=0)
    for entry, line in zip(found, lines, strict=True):
        typer.echo(f"{entry['name']:<{width}}  {line}")
