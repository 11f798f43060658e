"""Group runs into tables and recipes, and name the recipes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from saliencymixplus.comparison.load import RunResult
from saliencymixplus.comparison.published import METHODS
from saliencymixplus.errors import UserError, first_few

# Keys whose values are clear without the key.
_SPEAKING = ("model.name", "experiment", "mix.method")


def groups(results: Sequence[RunResult]) -> list[list[RunResult]]:
    """Group runs by table: same experiment, network and test images.

    If that leaves no table with two recipes to compare, all runs with the same test images share a
    table instead.
    """

    def split(key: Any) -> list[list[RunResult]]:
        groups: dict[Any, list[RunResult]] = {}
        for result in results:
            groups.setdefault(key(result), []).append(result)
        return list(groups.values())

    def test_set(result: RunResult) -> tuple[str, bytes]:
        return (result.run.data.name, result.predictions.labels.tobytes())

    def table(result: RunResult) -> tuple[Any, ...]:
        return (*test_set(result), result.settings.experiment, result.settings.model.name)

    groups = split(table)
    if any(len({result.recipe for result in group}) > 1 for group in groups):
        return groups
    return split(test_set)


def recipe_names(recipes: Mapping[str, Sequence[RunResult]]) -> dict[str, str]:
    """Name each recipe after its mix, adding the settings that differ if several share it."""
    found: dict[str, str] = {}
    for recipe, runs in recipes.items():
        mix, mine = runs[0].mix, runs[0].decisive
        rivals = [other[0].decisive for other in recipes.values() if other[0].mix == mix]
        parts = [
            str(value) if key in _SPEAKING else f"{key.rpartition('.')[2]}={value}"
            for key, value in mine.items()
            if any(other.get(key) != value for other in rivals)
        ]
        found[recipe] = f"{mix} ({first_few(parts)})" if parts else mix
    if len(set(found.values())) < len(found):
        found = {recipe: f"{name} #{i}" for i, (recipe, name) in enumerate(found.items(), 1)}
    return found


def refuse_duplicates(runs: Sequence[RunResult]) -> None:
    """Raise ``UserError`` if two of a recipe's runs, sorted by seed, have the same seed."""
    for one, two in pairwise(runs):
        if one.seed == two.seed:
            raise UserError(
                f"{one.run.path} and {two.run.path} are the same run (equal settings and seed "
                f"{one.seed}): leave one out"
            )


def order(mix: str, baseline: str) -> tuple[int, str]:
    """Sort key: the baseline, then the published methods, then the others by name."""
    if mix == baseline:
        return (0, "")
    return (1 + METHODS.index(mix), "") if mix in METHODS else (9, mix)
