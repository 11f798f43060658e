"""``config``: all settings of a run and the origin of their values."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saliencymixplus.commands import options

if TYPE_CHECKING:
    from saliencymixplus.settings import MixSettings, Params


def config(
    experiment: options.Experiment = options.DEFAULT_EXPERIMENT,
    mix_aug: Annotated[str, options.mix_option("A method, preset or recipe.")] = "saliencymixplus",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
    params: options.ParamsFile = options.DEFAULT_PARAMS,
    set_: options.Overrides = None,
) -> None:
    """Print every setting of a run, in the format of `--set`, and where its value comes from."""
    loaded = options.load(params, set_, experiment)
    found = list(_settings(loaded, experiment, mix_aug, seed))
    if as_json:
        options.print_json({key: {"value": value, "from": origin} for key, value, origin in found})
        return
    lines = [(f"{key}={json.dumps(value, ensure_ascii=False)}", o) for key, value, o in found]
    width = max(len(line) for line, _ in lines if len(line) <= 60)
    for line, origin in lines:
        typer.echo(f"{line:<{width}}  # {origin}")


def _settings(
    params: "Params", experiment: str, mix_aug: str, seed: int
) -> Iterator[tuple[str, Any, str]]:
    """Yield the key, value and origin of every setting."""
    from saliencymixplus.settings.raw import flat

    run = params.run(experiment, mix_aug, seed)
    sections = run.model_dump(mode="json", include={"download", "data", "model", "training"})
    for key, value in flat(sections, f"{experiment}."):
        yield key, value, params.origin(key)
    if run.mix.method == "switch":
        for probability, member in run.mix.members:
            key = f"mix.{run.mix.name}.switch.{member.name}"
            yield key, probability, params.origin(key)
    for _, recipe in run.mix.members:
        yield from _options(params, recipe, "--mix-aug" if recipe is run.mix else "the switch")
    yield "seed", run.seed, "--seed"
    for name in ("evaluation", "audit"):
        section = getattr(params.top, name).model_dump(mode="json")
        for key, value in flat(section, f"{name}."):
            yield key, value, params.origin(key)


def _options(params: "Params", mix: "MixSettings", chosen: str) -> Iterator[tuple[str, Any, str]]:
    """Yield the key, value and origin of a recipe's method (``chosen``) and its options."""
    from saliencymixplus.mixing import PRESETS

    own = params.top.mix.get(mix.name, {})
    preset = PRESETS[mix.name].recipes[mix.name] if mix.name in PRESETS else {}
    origin = params.origin(f"mix.{mix.name}.method") if "method" in own else chosen
    yield f"mix.{mix.name}.method", mix.method, origin
    for name, value in mix.options.items():
        key = f"mix.{mix.name}.{name}"
        origin = f"preset {mix.name}" if name in preset else f"default of {mix.method}"
        given = own.get(name) is not None  # null: the method's default
        yield key, value, params.origin(key) if given else origin
