"""Options: resolved by variant, validated, settable one by one, recorded in full."""

import inspect
import json
import re
from dataclasses import asdict, fields
from typing import Any

import pytest

from saliencymixplus import mixing


def test_published_saliencymixplus_is_every_quirk() -> None:
    assert mixing.resolve_options("saliencymixplus", {"variant": "published"}) == {
        "variant": "published",
        "pairs": "half",
        "lam0": "batch",
        "box_size": "halves",
        "reduction": "batch_mean",
        "clean_gradient": 1.0,
        "batch_norm": "updated",
        "saliency_mode": "train",
        "position": "peak",
        "label": "saliency",
        "smoothing": 0.0,
        "saliency_weights": "current",
        "saliency_resolution": 1.0,
        "saliency_fraction": 1.0,
        "saliency_trust": "always",
        "saliency_every": 1,
        "alpha": 1.0,
    }


def test_corrected_is_the_default_and_mends_every_quirk() -> None:
    corrected = mixing.resolve_options("saliencymixplus", {})
    assert corrected == mixing.resolve_options("saliencymixplus", {"variant": "corrected"})
    published = mixing.resolve_options("saliencymixplus", {"variant": "published"})
    assert {name for name in corrected if corrected[name] != published[name]} == {
        "variant",
        "pairs",
        "lam0",
        "box_size",
        "reduction",
        "clean_gradient",
        "batch_norm",
        "saliency_mode",
    }


@pytest.mark.parametrize("method", mixing.METHODS)
def test_every_option_is_documented_with_its_values(method: str) -> None:
    kind = mixing.METHODS[method].options
    texts = [inspect.cleandoc(base.__doc__ or "") for base in kind.__mro__[:-1]]
    for spec in fields(kind):
        entry = re.compile(rf"^    {spec.name}: (.*?)(?=^    \w+: |^\S|\Z)", re.M | re.S)
        found = next((match[1] for match in map(entry.search, texts) if match), None)
        assert found, f"{method}.{spec.name} is not described"
        if "low" in spec.metadata:
            span = f"{spec.metadata['low']:g} … {spec.metadata['high']:g}"
            assert span in " ".join(found.split()), f"{method}.{spec.name} has the range {span}"


@pytest.mark.parametrize("variant", ["corrected", "published"])
@pytest.mark.parametrize("name", list(mixing.resolve_options("saliencymixplus", {})))
def test_none_means_as_the_variant_says(variant: str, name: str) -> None:
    if name != "variant":
        given = {"variant": variant, name: None}
        expected = mixing.resolve_options("saliencymixplus", {"variant": variant})
        assert mixing.resolve_options("saliencymixplus", given) == expected


@pytest.mark.parametrize("method", mixing.METHODS)
def test_resolved_options_are_json_and_resolve_to_themselves(method: str) -> None:
    options = mixing.resolve_options(method, {})
    assert json.loads(json.dumps(options)) == options
    assert None not in options.values()
    assert mixing.resolve_options(method, options) == options
    assert asdict(mixing.create(method, **options).options) == options


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("saliencymixpls", {}, "saliencymixplus"),
        ("cutmix", {"boxes": "batch"}, "'box'"),
        ("none", {"alpha": 1.0}, "has none"),
        ("saliencymixplus", {"variant": "publshed"}, "'published'"),
        ("saliencymixplus", {"pairs": "greedy"}, "choose one of"),
        ("saliencymixplus", {"pairs": True}, "pairs"),
        *[(name, {"alpha": 0.0}, "between") for name in ("cutmix", "mixup", "fmix", "gridmix")],
        *[(f"saliencymix{plus}", {"alpha": 0.0}, "between") for plus in ("", "plus")],
        ("cutmix", {"clean_gradient": -0.5}, "between"),
        ("saliencymixplus", {"alpha": "1"}, "not a number"),
        ("saliencymixplus", {"smoothing": float("nan")}, "not a number"),
        ("saliencymixplus", {"clean_gradient": True}, "not a number"),
        ("saliencymixplus", {"saliency_resolution": 1.5}, "between"),
        ("gridmix", {"cells": 2.5}, "whole"),
        ("resizemix", {"smallest": 0.9, "largest": 0.2}, "above"),
    ],
)
def test_a_wrong_option_is_one_line(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        mixing.resolve_options(method, options)
    assert "\n" not in str(caught.value)


def test_a_range_may_be_one_value() -> None:
    assert mixing.create("resizemix", smallest=0.4, largest=0.4).options.largest == 0.4
    assert mixing.create("smoothmix", narrowest=0.4, widest=0.4).options.widest == 0.4


def test_needs() -> None:
    assert mixing.create("saliencymixplus").needs_model
    assert not mixing.create("saliencymixplus", position="random", label="area").needs_model
    assert mixing.create("saliencymixplus", position="random").needs_model
    assert mixing.create("saliencymixplus", label="area").needs_model
    assert mixing.create("saliencymix").needs_saliency
    assert not mixing.create("saliencymix", variant="published").needs_saliency
    assert not mixing.create("guidedsr").needs_model
