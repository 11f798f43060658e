"""docs/methods.md describes every method, and its table of checks is current."""

import re

import pytest

from saliencymixplus.mixing import METHODS, Method
from saliencymixplus.mixing.registry import PRESETS
from tests.methods_table import PAGE, collected, with_table

TEXT = PAGE.read_text("utf-8")


def test_the_table_is_up_to_date() -> None:
    assert with_table(TEXT, collected()) == TEXT, "run: python -m tests.methods_table"


@pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.apply is not None], ids=lambda method: method.name
)
def test_every_method_has_a_section(method: Method) -> None:
    found = re.search(rf"^## {re.escape(method.label)}$(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert found, f"no section {method.label}"
    for what in ("When", "Cost"):
        assert re.search(rf"^- \*\*.*{what}.*:\*\*", found[1], re.M | re.I), f"{what}?"
    assert f"`{method.name}`" in TEXT
    arxiv = re.search(r"\d{4}\.\d{5}", method.paper)
    assert arxiv is None or f"https://arxiv.org/abs/{arxiv[0]}" in TEXT


def test_names_exist() -> None:
    named = set(re.findall(r"`([a-z]+-(?:published|random-pairs))`", TEXT))
    assert named <= set(PRESETS), named - set(PRESETS)
    assert all((PAGE.parent / path).is_file() for path in re.findall(r"!\[.*?\]\((.*?)\)", TEXT))
