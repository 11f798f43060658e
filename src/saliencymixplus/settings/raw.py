"""params.yaml as plain dictionaries, before it is validated."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.plain_values import DEEPEST, check_plain

MOST_SETTINGS = 100_000  # values in params.yaml or in one --set


def read_yaml(path: Path, text: str | None = None) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, like DVC: 5e-4 is a number and ``no`` a string.

    If ``text`` is given, it is parsed instead of the file's content.
    """
    try:
        text = path.read_text(encoding="utf-8") if text is None else text
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: run from the repository, or give --params"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: it is not UTF-8, save it as such") from error
    try:
        content = _parsed(text)
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping of keys to values")
    return dict(content)


def apply_override(raw: dict[str, Any], override: str) -> str:
    """Set one key of ``raw`` from ``section.key=value``; returns the key."""
    key, separator, text = override.partition("=")
    parts = key.split(".")
    if not separator or not all(parts) or len(parts) > DEEPEST:
        raise UserError(f"--set {_short(override)}: write section.key=value")
    try:
        value = _parsed(text) if text else None
    except ValueError as error:
        reason = one_line(error)
        raise UserError(f"--set {_short(override)}: not a valid YAML value: {reason}") from error
    set_value(raw, parts, value, f"--set {_short(override)}")
    return key


def set_value(raw: dict[str, Any], parts: Sequence[str], value: object, origin: str) -> None:
    """Set a nested key of ``raw``; if a parent is not a section, the error names ``origin``."""
    section = raw
    for part in parts[:-1]:
        inner = section.get(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"{origin}: {part!r} is a value, not a section")
        section[part] = dict(inner)  # YAML aliases share dictionaries between sections
        section = section[part]
    section[parts[-1]] = value


def flat(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and the values that are not sections themselves."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@lru_cache(8)  # parsing params.yaml takes longer than all else in reading it, and is repeated
def _parsed(text: str) -> Any:
    """Parse ``text`` as YAML; raises ``ValueError`` if it is invalid or beyond our limits.

    Callers share the result and must not change it.
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{line}{error.problem or error.context}") from error
    except YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_plain(value, MOST_SETTINGS)
    return value


def _short(override: str) -> str:
    return repr(override if len(override) <= 100 else override[:100] + "…")
