"""Validate settings, and describe the first invalid one in a line."""

import json
import reprlib
import typing
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from saliencymixplus.errors import nearest

Model = TypeVar("Model", bound=BaseModel)

# Invalid values may be megabytes long.
_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 80


class SettingError(Exception):
    """An invalid setting, before it is known where it was set."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key


def validate(model: type[Model], content: object, name: str) -> Model:
    """Validate like JSON: strict about types, but lists are accepted as tuples and 1 as a float."""
    try:
        return model.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        key, message = _first_fault(error, model)
        raise SettingError(".".join(filter(None, (name, key))), message) from error
    except TypeError as error:  # a YAML date or set has no JSON form
        key, value = _without_json(content, name)
        raise SettingError(key, f"{value!r} is of a type that no setting has") from error
    except ValueError as error:
        raise SettingError(name or "the file", str(error)) from error


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Describe pydantic's first error in a line, with hints for misspelt keys of ``model``."""
    return ": ".join(filter(None, _first_fault(error, model)))


def _first_fault(error: ValidationError, model: type[BaseModel] | None) -> tuple[str, str]:
    """The dotted key of the first error ("" for the whole) and its description."""
    faults = error.errors()
    first = faults[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        *parents, key = map(str, first["loc"])
        message = "unknown key"
        if known := _keys(model, parents):
            message += f", {nearest(key, known)}"
    elif first["type"] == "too_short":
        message = "empty: name at least one"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        message += f", not {_shortened.repr(first['input'])}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ".".join(str(part) for part in first["loc"] if part != "[key]"), message + more


def _keys(model: type[BaseModel] | None, parents: Iterable[str]) -> set[str]:
    """The keys of the section at ``parents`` below ``model``."""
    for parent in parents:
        field = model.model_fields.get(parent) if model else None
        kinds = [field.annotation, *typing.get_args(field.annotation)] if field else []
        sections = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        model = sections[0] if sections else None
    return {*model.model_fields} if model else set()


def _without_json(content: object, key: str) -> tuple[str, object]:
    """The first value in ``content`` that has no JSON form, and its dotted key."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    elif content is not None and not isinstance(content, str | int | float):
        return key, content
    for name, value in items:
        found = _without_json(value, f"{key}.{name}" if key else str(name))
        if found[0]:
            return found
    return "", None
