"""Group runs into tables and recipes, and name the recipes."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from saliencymixplus.comparison.load import RunResult
from saliencymixplus.comparison.published import METHODS
from saliencymixplus.errors import UserError, first_few

Key = TypeVar("Key")
# Settings whose values are clear without their key.
_SELF_EXPLANATORY = ("model.name", "experiment", "mix.method")


def groups(results: Sequence[RunResult]) -> list[list[RunResult]]:
    """Group runs by table: same experiment, network and test images.

    If that leaves no table with two recipes to compare, all runs with the same test images share a
    table instead.
    """

    def test_set(result: RunResult) -> tuple[str, bytes]:
        return (result.run.data.name, result.predictions.labels.tobytes())

    def table(result: RunResult) -> tuple[Any, ...]:
        return (*test_set(result), result.settings.experiment, result.settings.model.name)

    groups = list(_grouped(results, table).values())
    if any(len({result.recipe for result in group}) > 1 for group in groups):
        return groups
    return list(_grouped(results, test_set).values())


def by_recipe(group: Sequence[RunResult], baseline: str) -> dict[str, list[RunResult]]:
    """A table's runs by the name of their recipe, sorted by seed, ``baseline`` first.

    Raises:
        UserError: two runs of a recipe have the same seed.
    """
    recipes = _grouped(group, lambda result: result.recipe)
    names = _names(recipes)
    found = {}
    for recipe, runs in sorted(recipes.items(), key=lambda item: _order(item[1][0].mix, baseline)):
        found[names[recipe]] = sorted(runs, key=lambda run: run.seed)
        for one, two in pairwise(found[names[recipe]]):
            if one.seed == two.seed:
                raise UserError(
                    f"{one.run.path} and {two.run.path} are the same run (equal settings and "
                    f"seed {one.seed}): leave one out"
                )
    return found


def _grouped(
    results: Sequence[RunResult], key: Callable[[RunResult], Key]
) -> dict[Key, list[RunResult]]:
    found: dict[Key, list[RunResult]] = {}
    for result in results:
        found.setdefault(key(result), []).append(result)
    return found


def _names(recipes: Mapping[str, Sequence[RunResult]]) -> dict[str, str]:
    """Name each recipe after its mix, adding the settings that differ if several share it."""
    found: dict[str, str] = {}
    for recipe, runs in recipes.items():
        mix, mine = runs[0].mix, runs[0].decisive
        rivals = [other[0].decisive for other in recipes.values() if other[0].mix == mix]
        parts = [
            str(value) if key in _SELF_EXPLANATORY else f"{key.rpartition('.')[2]}={value}"
            for key, value in mine.items()
            if any(other.get(key) != value for other in rivals)
        ]
        found[recipe] = f"{mix} ({first_few(parts)})" if parts else mix
    if len(set(found.values())) < len(found):
        found = {recipe: f"{name} #{i}" for i, (recipe, name) in enumerate(found.items(), 1)}
    return found


def _order(mix: str, baseline: str) -> tuple[int, str]:
    """Sort key: the baseline, then the published methods, then the others by name."""
    if mix == baseline:
        return (0, "")
    return (1 + METHODS.index(mix), "") if mix in METHODS else (9, mix)
