"""The table of docs/methods.md: what each method needs, and which checks there are for it.

``python -m tests.methods_table`` writes it; ``tests/test_methods_page.py`` fails if it is old.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from saliencymixplus.mixing import METHODS, Method
from tests.peers.common import CHECKS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->"
# Column → names of the tests, parametrised over methods, that it stands for.
COLUMNS = {
    "recorded cases": ("test_official_results", "test_published_results"),
    "oracle": ("test_a_loop_over_the_samples_gives_the_same",),
    "compile": ("test_one_graph",),
    "capture": ("test_every_methods_step_waits_for_nothing",),
    "audit": ("test_every_method_against_a_loop_over_pixels",),
}
NEEDS = {
    "gradient_saliency": "one more pass",
    "network": "feature maps",
    "stored_saliency": "a stored map",
    "masks": "object masks",
}
WHERE = [
    "tests/test_peer_parity.py",
    "tests/test_published_parity.py",
    "tests/mixing/test_against_loops.py",
    "tests/mixing/methods",
    "tests/mixing/test_compiled.py",
    "tests/mixing/test_visible_fraction.py",
    "tests/engine/test_no_waiting.py",
]


def collected() -> list[str]:
    """The node ids of all tests, those that are slow included."""
    # Quiet once, by the project's own options: twice would leave the names out.
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *WHERE]
    own = {k: v for k, v in os.environ.items() if k not in ("GOLDEN_DIR", "PEER_GOLDEN_DIR")}
    found = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def table(tests: Iterable[str]) -> str:
    """A Markdown table: a row for each method, counts of recorded cases, ✓ for the others."""
    counts = {(method, column): 0 for method in METHODS for column in COLUMNS}
    for test in tests:
        found = re.search(r"::(\w+)\[([a-z]+)", test)
        if not found or (found[1] == "test_official_results" and found[2] not in CHECKS):
            continue
        for column, names in COLUMNS.items():
            if found[1] in names and (found[2], column) in counts:
                counts[found[2], column] += 1
    rows = [["method", "name", "needs", *COLUMNS], ["---"] * (3 + len(COLUMNS))]
    for name, method in METHODS.items():
        if method.apply is not None:
            cells = [counts[name, column] for column in COLUMNS]
            marks = [str(cells[0] or "–"), *("✓" if count else "–" for count in cells[1:])]
            rows.append([method.label, f"`{name}`", _needs(method), *marks])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _needs(method: Method) -> str:
    """What the caller has to provide besides images and labels."""
    if method.forward is not None:
        return "a forward pass of its own"
    return ", ".join(NEEDS[need] for need in sorted(method.options().needs)) or "–"


def with_table(page: str, tests: Iterable[str]) -> str:
    """The page with a new table."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + table(tests) + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), collected()), "utf-8")
