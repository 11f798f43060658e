"""params.yaml as plain dictionaries, before it is validated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from saliencymixplus.errors import UserError


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping, as DVC does: 5e-4 is a number and ``no`` a word.

    Raises:
        UserError: the file is missing, unreadable, not YAML or not a mapping.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: run from the repository, or give --params"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    return content


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one key of ``raw`` from ``section.key=value``; raises ``UserError`` if it is not that."""
    key, separator, text = override.partition("=")
    parts = key.split(".")
    if not separator or not all(parts):
        raise UserError(f"--set {override!r}: write section.key=value")
    try:
        value = YAML(typ="safe", pure=True).load(text) if text else None
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--set {override!r}: the value is not valid YAML") from error
    set_value(raw, parts, value, f"--set {override!r}")


def set_value(raw: dict[str, Any], parts: Sequence[str], value: object, origin: str) -> None:
    """Set a nested key of ``raw``; ``origin`` starts the error if a section is in fact a value."""
    section = raw
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise UserError(f"{origin}: {part!r} is a value, not a section")
    section[parts[-1]] = value
