"""Options of the mixing methods: frozen dataclasses, their ranges, and how they are resolved."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from saliencymixplus.errors import nearest

Scope = Literal["batch", "sample"]
Pairs = Literal["full", "half", "permutation"]
OptionsT = TypeVar("OptionsT", bound="Options")


def number(default: float, low: float, high: float) -> Any:
    """A dataclass field for a number in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a method. The defaults are those of its default variant.

    ``PUBLISHED`` holds what ``variant: published`` changes; a method without that option
    leaves it empty.
    """

    PUBLISHED: ClassVar[Mapping[str, Any]] = {}

    @property
    def per_sample(self) -> bool:
        """Whether λ₀ and the place are drawn for each sample, not once a batch."""
        return True


@dataclass(frozen=True, kw_only=True)
class MixingOptions(Options):
    """What every method that mixes two images can be told."""

    # full: a random partner that is never oneself; permutation: any (about one sample a batch
    # is its own partner, as in the papers' code); half: the first half with the second.
    pairs: Pairs = "full"
    clean_gradient: float = number(0.0, 0.0, 100.0)  # weight of the unmixed batch's gradient


def resolve(kind: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """Build options from what the user gave; None means "as the variant says".

    Raises:
        ValueError: an unknown option, or a value of the wrong type or out of range; one line.
    """
    known = {spec.name: spec for spec in fields(kind)}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            hint = nearest(str(name), known) if known else "this method has none"
            raise ValueError(f"no option is called {name!r}: {hint}")
        if value is not None:
            chosen[name] = _checked(known[name], get_type_hints(kind)[name], value)
    preset = dict(kind.PUBLISHED) if chosen.get("variant") == "published" else {}
    return kind(**(preset | chosen))


def as_json(options: Options) -> dict[str, Any]:
    """Every option with its value, as it is recorded with a run."""
    return asdict(options)


def describe(kind: type[Options]) -> dict[str, str]:
    """Option name -> its values and default, for help texts and tables."""
    hints = get_type_hints(kind)
    lines: dict[str, str] = {}
    for spec in fields(kind):
        if get_origin(hints[spec.name]) is Literal:
            allowed = " | ".join(str(value) for value in get_args(hints[spec.name]))
        else:
            allowed = f"{spec.metadata['low']:g} … {spec.metadata['high']:g}"
        lines[spec.name] = f"{allowed} (default {spec.default})"
    return lines


def _checked(spec: "Field[Any]", hint: Any, value: Any) -> Any:
    if get_origin(hint) is Literal:
        allowed = [str(choice) for choice in get_args(hint)]
        if value not in allowed:
            raise ValueError(f"{spec.name}: {value!r} is no choice: {nearest(str(value), allowed)}")
        return value
    low, high = spec.metadata["low"], spec.metadata["high"]
    assert spec.default is not MISSING
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{spec.name}: {value!r} is no number between {low:g} and {high:g}")
    if not low <= value <= high:
        raise ValueError(f"{spec.name}: {value!r} is not between {low:g} and {high:g}")
    if hint is int and value != int(value):
        raise ValueError(f"{spec.name}: {value!r} is no whole number")
    return hint(value)
