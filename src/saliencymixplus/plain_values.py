"""Parse untrusted JSON, and check the size and depth of parsed values."""

import json
import math
from typing import Any

DEEPEST = 64  # nested lists and mappings
MOST_DIGITS = 20  # of an integer: enough for 64 bits and a sign
MOST_VALUES = 10_000_000


def parse_json(text: str | bytes) -> Any:
    """Parse JSON strictly: finite numbers, no duplicate keys, nesting up to ``DEEPEST``.

    Raises:
        ValueError: ``text`` is not JSON within these limits.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_mapping,
            parse_constant=_not_finite,
            parse_float=_finite,
            parse_int=_integer,
        )
    except RecursionError:
        raise _too_deep() from None
    check_plain(value)
    return value


def check_plain(value: object, most: int = MOST_VALUES) -> None:
    """Check a parsed JSON or YAML value before it is traversed recursively or printed.

    Raises:
        ValueError: it is nested deeper than ``DEEPEST`` (a YAML alias in itself is infinite), has
            more than ``most`` values (aliases of aliases multiply), an integer with more than
            ``MOST_DIGITS`` digits, or text that is not valid Unicode.
    """
    waiting: list[tuple[object, int]] = [(value, 0)]
    seen = 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if seen > most:
            raise ValueError(f"it holds more than {most:,} values")
        if isinstance(item, dict | list):
            if depth >= DEEPEST:
                raise _too_deep()
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            waiting += [(child, depth + 1) for child in inner]
        elif isinstance(item, str):
            if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
                raise ValueError("it holds half of a surrogate pair, which is not text")
        elif isinstance(item, int) and abs(item) >= 10**MOST_DIGITS:
            raise ValueError(f"it holds an integer of more than {MOST_DIGITS} digits")


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {DEEPEST} levels deep")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:80]!r} occurs twice")
        result[key] = value
    return result


def _not_finite(text: str) -> float:
    raise ValueError(f"it holds {text}, which is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text[:20]}, which is beyond any float")
    return value


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds an integer of {len(text)} digits")
    return int(text)
