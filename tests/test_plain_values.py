"""Limits on parsed JSON and YAML."""

import json

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.plain_values import DEEPEST, MOST_DIGITS, check_plain, parse_json
from saliencymixplus.settings.raw import apply_override


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, -2.5, "é", True, {}]},
        10**MOST_DIGITS - 1,
        "\ud83d\udc36".encode("utf-16", "surrogatepass").decode("utf-16"),
        1e308,
    ],
)
def test_plain_values_pass(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_the_deepest_passes_and_one_more_does_not() -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(ValueError, match=f"more than {DEEPEST} levels"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


def test_as_many_values_as_are_allowed() -> None:
    check_plain([0] * 9, most=10)
    with pytest.raises(ValueError, match="more than 10 values"):
        check_plain([0] * 10, most=10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "levels deep"),
        ("9" * 5000, "integer of 5000 digits"),
        ("-" + "9" * 21, "integer of"),
        ("NaN", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e999", "beyond any float"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' occurs twice"),
        ('["\\ud800"]', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        (b"\xff\x00\xff", "decode"),
        ("", "Expecting value"),
    ],
)
def test_beyond_the_limits(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


@pytest.mark.parametrize(
    "override",
    [
        "mix.cutmix.alpha=" + "[" * 50 + "[" * 50,
        "mix.cutmix.alpha=" + "[" * 90 + "]" * 90,
        "mix.cutmix.alpha=" + "[" * 20_000 + "]" * 20_000,
        "mix.cutmix.alpha=" + "9" * 5000,
        "mix.cutmix.alpha=&a [*a]",
        # Aliases of aliases: 2⁴⁰ values.
        "mix={x0: &x0 [1], "
        + "".join(f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}], " for i in range(1, 41))
        + "}",
        ".".join(["a"] * 500) + "=1",
        "a\x1b[2J",
    ],
    ids=range(8),
)
def test_hostile_overrides_are_one_short_line(override: str) -> None:
    with pytest.raises(UserError, match="--set") as caught:
        apply_override({}, override)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
