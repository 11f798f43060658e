"""From what a user gives to a method's options, checked."""

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from saliencymixplus.errors import nearest
from saliencymixplus.mixing.options import Options

OptionsT = TypeVar("OptionsT", bound=Options)
_RENAMED = {"saliency_share": "saliency_fraction"}  # version 0.1's names, still accepted


def resolve(kind: type[OptionsT], given: Mapping[str, Any]) -> OptionsT:
    """Build options from what the user gave; None means "as the variant says".

    Raises:
        ValueError: an unknown option, or a value of the wrong type or out of range; one line.
    """
    known = {spec.name: spec for spec in fields(kind)}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        if name in _RENAMED:
            warnings.warn(f"{name} is now called {_RENAMED[name]}", FutureWarning, stacklevel=2)
            name = _RENAMED[name]
        if name not in known:
            hint = nearest(str(name), known) if known else "this method has none"
            raise ValueError(f"no option is called {name!r}: {hint}")
        if value is not None:
            chosen[name] = _checked(known[name], get_type_hints(kind)[name], value)
    preset = dict(kind.PUBLISHED) if chosen.get("variant") == "published" else {}
    return kind(**(preset | chosen))


def _checked(spec: "Field[Any]", hint: Any, value: Any) -> Any:
    if get_origin(hint) is Literal:
        allowed = [str(choice) for choice in get_args(hint)]
        if value not in allowed:
            hint = nearest(str(value), allowed)
            raise ValueError(f"{spec.name}: {value!r} is not one of its values: {hint}")
        return value
    if hint is str:
        if not isinstance(value, str) or not re.fullmatch(spec.metadata["pattern"], value):
            raise ValueError(f"{spec.name}: {value!r} does not match {spec.metadata['pattern']}")
        return value
    low, high = spec.metadata["low"], spec.metadata["high"]
    assert spec.default is not MISSING
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{spec.name}: {value!r} is not a number between {low:g} and {high:g}")
    if not low <= value <= high:
        raise ValueError(f"{spec.name}: {value!r} is not between {low:g} and {high:g}")
    if hint is int and value != int(value):
        raise ValueError(f"{spec.name}: {value!r} is not a whole number")
    return hint(value)
