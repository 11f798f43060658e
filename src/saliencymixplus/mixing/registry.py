"""The registry of mixing methods: every file in ``mixing/methods`` that declares a ``METHOD``."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from saliencymixplus.errors import nearest
from saliencymixplus.mixing import methods
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Options, resolve


def _found() -> dict[str, Method]:
    """Every method by name: plain training first, then by year and name."""
    found: list[Method] = []
    for file in pkgutil.iter_modules(methods.__path__):
        if file.name.startswith("_"):
            continue
        method: Method = importlib.import_module(f"{methods.__name__}.{file.name}").METHOD
        if method.name != file.name:
            raise ImportError(f"methods/{file.name}.py declares the method {method.name!r}")
        if method.options.PUBLISHED:
            published = {f"{method.name}-published": {"variant": "published"}}
            method = replace(method, recipes=published | dict(method.recipes))
        found.append(method)
    found.sort(key=lambda method: (method.year is None, method.year or 0, method.name))
    return {method.name: method for method in found}


METHODS: dict[str, Method] = _found()
PRESETS: dict[str, Method] = {name: m for m in METHODS.values() for name in m.recipes}
_LABELS = {method.label.lower(): method.name for method in METHODS.values()}


def plain_name(name: str) -> str:
    """The lower-case name of a method or preset, also from a label such as "SaliencyMix+"."""
    return _LABELS.get(name.lower(), name.lower())


def settle(name: str, options: Mapping[str, Any]) -> tuple[Method, Options]:
    """Find a method or preset and resolve its options; those omitted or None are the preset's.

    Raises:
        ValueError: an unknown method, option or value; one line with the nearest name.
    """
    plain = plain_name(str(name))
    method = PRESETS.get(plain) or METHODS.get(plain)
    if method is None:
        hint = nearest(str(name), {*METHODS, *PRESETS})
        raise ValueError(f"no mixing method is called {name!r}: {hint}")
    preset = method.recipes.get(plain, {})
    omitted = {key: value for key, value in preset.items() if options.get(key) is None}
    return method, resolve(method.options, {**options, **omitted})
