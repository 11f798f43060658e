"""Random changes of the files of a run folder, as a stranger or a damaged disk may make them."""

import json
import random
from pathlib import Path
from typing import Any

# Values that a stranger may put anywhere into a JSON file.
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    10**9,
    10**18,
    -0.5,
    1e300,
    "",
    "../../escape",
    "/etc/passwd",
    "a/b",
    "nan",
    "\x1b[2J\x1b]0;title\x07",
    "[bold]x[/bold]",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "x" * 100_000,
    [],
    {},
    [[[[[[[[[[]]]]]]]]]],
    [10**9, 10**9],
    {"name": "../x"},
    ["a"] * 1000,
]
HOSTILE_TEXT = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    '"\\ud800"',
    "[" * 900 + "]" * 900,
    "[" * 100_000,
    '{"a":' * 500 + "1" + "}" * 500,
    '{"a": 1, "a": 2}',
    "",
    "\x00",
    "\xff",
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside ``value``, itself included."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [at, *(place for key, inner in items for place in places(inner, (*at, key)))]


def mutated_json(text: str, choose: random.Random) -> bytes:
    """``text`` with one thing wrong with it."""
    kind = choose.choice(["value", "value", "value", "text", "drop", "add", "cut", "flip"])
    content = json.loads(text)
    place = choose.choice(places(content)[1:])
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if kind == "value":
        parent[place[-1]] = choose.choice(HOSTILE)
    elif kind == "text":
        parent[place[-1]] = "PLACE"
        return json.dumps(content).replace('"PLACE"', choose.choice(HOSTILE_TEXT), 1).encode()
    elif kind == "drop":
        del parent[place[-1]]
    elif kind == "add" and isinstance(parent, dict):
        parent[choose.choice(["../x", "\x1b[31m", "", "extra"])] = choose.choice(HOSTILE)
    elif kind == "cut":
        return text[: choose.randrange(len(text))].encode()
    else:
        return flipped(text.encode(), choose)
    return json.dumps(content).encode()


def flipped(content: bytes, choose: random.Random) -> bytes:
    """A few bytes changed, anywhere."""
    changed = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        changed[choose.randrange(len(changed))] = choose.randrange(256)
    return bytes(changed)


def mutated_csv(text: str, choose: random.Random) -> bytes:
    """A table with one cell, line or byte wrong."""
    lines = [line.split(",") for line in text.splitlines()]
    line = choose.choice(lines)
    at = choose.randrange(len(line))
    kind = choose.choice(["cell", "cell", "more", "fewer", "cut", "flip"])
    if kind == "cell":
        line[at] = choose.choice(["", "nan", "inf", "1e999", "x", '"', "\x00", "9" * 5000, "epoch"])
    elif kind == "more":
        line.insert(at, "1")
    elif kind == "fewer":
        del line[at]
    elif kind == "cut":
        return text[: choose.randrange(len(text))].encode()
    else:
        return flipped(text.encode(), choose)
    return ("\n".join(",".join(line) for line in lines) + "\n").encode()


def mutated(file: Path, choose: random.Random) -> bytes:
    """Other content for ``file``, by its kind."""
    content = file.read_bytes()
    change = {".json": mutated_json, ".csv": mutated_csv}.get(file.suffix)
    return change(content.decode(), choose) if change else flipped(content, choose)
