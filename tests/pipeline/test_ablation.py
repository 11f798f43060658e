"""The ablation: its recipes differ only as stated, and its pipeline runs beside the main one."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from saliencymixplus.settings import load_params
from tests.helpers import REPOSITORY

PARAMS = load_params(REPOSITORY / "params.yaml")
ABLATION = PARAMS.top.ablation
assert ABLATION is not None
ONE_OPTION = [name for name in ABLATION.methods if name.startswith("plus-")]


def changed(name: str, base: str) -> set[str]:
    """Options in which two recipes of one method differ."""
    first, second = PARAMS.mix(name), PARAMS.mix(base)
    assert first.method == second.method
    return {key for key in first.options if first.options[key] != second.options[key]}


@pytest.mark.parametrize("name", ONE_OPTION)
def test_each_recipe_changes_what_its_name_says(name: str) -> None:
    expected = {"saliency_mode", "batch_norm"} if name == "plus-double-norm" else None
    options = changed(name, "saliencymixplus")
    assert options == expected if expected else len(options) == 1


def test_the_recipes_cover_all_that_was_published_otherwise() -> None:
    quirks = changed("saliencymixplus-published", "saliencymixplus") - {"variant"}
    covered = set().union(*(changed(name, "saliencymixplus") for name in ONE_OPTION))
    assert quirks <= covered
    ideas = {"label", "position"}
    cheaper = {"saliency_resolution", "saliency_fraction", "saliency_every"}
    assert covered - quirks == ideas | cheaper


def test_the_controls_and_the_baseline_are_there() -> None:
    assert {"none", "saliencymixplus", "cutmix-sample-box", "cutmix-clean-gradient"} <= {
        *ABLATION.methods
    }
    assert changed("cutmix-sample-box", "cutmix") == {"box"}
    assert changed("cutmix-clean-gradient", "cutmix") == {"clean_gradient"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_makes_the_table_in_a_fresh_clone(new_clone: Callable[..., Any]) -> None:
    clone = new_clone(
        ablation={"experiment": "digits", "methods": ["cutmix", "saliencymixplus"], "seeds": [0]},
        digits={"training": {"epochs": 2, "warmup_epochs": 0, "sample_epochs": []}},
    )
    # Python's caches beside the sources must not make the stages run again.
    clone.run("dvc", "--cd", "ablation", "repro")
    assert list((clone.folder / "src").rglob("__pycache__"))
    assert json.loads(clone.run("dvc", "--cd", "ablation", "status", "--json")) == {}
    assert "top1_error" in clone.run("dvc", "--cd", "ablation", "metrics", "show")
    assert (clone.folder / "mlflow.db").is_file()
    table = (clone.folder / "ablation/comparison/comparison.md").read_text(encoding="utf-8")
    assert "Difference to SaliencyMix+" in table
    assert re.search(r"(?m)^\| CutMix \|", table)
    # Nothing of the main pipeline's ran, or was needed.
    assert not any((clone.folder / name).exists() for name in ("pipeline", "runs"))
