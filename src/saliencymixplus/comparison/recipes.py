"""Which runs belong in one table, which are one recipe over several seeds, and its name."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from saliencymixplus.comparison.load import RunResult
from saliencymixplus.errors import UserError

# Keys whose value says what it is.
_SPEAKING = ("model.name", "experiment", "mix.method")


def groups(results: Sequence[RunResult]) -> list[list[RunResult]]:
    """One group a table: same experiment, network and test images.

    If that leaves no table with two recipes, there is nothing to compare within them, and all
    runs with the same test images share a table: so any two runs can be set side by side.
    """

    def split(key: Any) -> list[list[RunResult]]:
        groups: dict[Any, list[RunResult]] = {}
        for result in results:
            groups.setdefault(key(result), []).append(result)
        return list(groups.values())

    def test_set(result: RunResult) -> tuple[str, bytes]:
        return (str(result.data["name"]), result.predictions.labels.tobytes())

    def table(result: RunResult) -> tuple[Any, ...]:
        return (*test_set(result), result.settings["experiment"], result.settings["model"]["name"])

    groups = split(table)
    if any(len({result.recipe for result in group}) > 1 for group in groups):
        return groups
    return split(test_set)


def names_of(recipes: Mapping[str, Sequence[RunResult]]) -> dict[str, str]:
    """A name a recipe: that of its mixing, and where two share it, what else differs."""
    found: dict[str, str] = {}
    for recipe, runs in recipes.items():
        mix, mine = runs[0].mix, runs[0].decisive
        rivals = [other[0].decisive for other in recipes.values() if other[0].mix == mix]
        parts = [
            str(value) if key in _SPEAKING else f"{key.rpartition('.')[2]}={value}"
            for key, value in mine.items()
            if any(other.get(key) != value for other in rivals)
        ]
        shown = ", ".join(parts[:3]) + (f" and {len(parts) - 3} more" if len(parts) > 3 else "")
        found[recipe] = f"{mix} ({shown})" if parts else mix
    if len(set(found.values())) < len(found):
        found = {recipe: f"{name} #{i}" for i, (recipe, name) in enumerate(found.items(), 1)}
    return found


def refuse_doubles(runs: Sequence[RunResult]) -> None:
    for one, two in pairwise(runs):
        if one.seed == two.seed:
            raise UserError(
                f"{one.path} and {two.path} are the same training (equal settings and seed "
                f"{one.seed}): leave one out"
            )


def order(mix: str, baseline: str) -> tuple[int, str]:
    """The baseline first, then the published methods, then the others by name."""
    known = ("none", "cutmix", "saliencymix", "saliencymixplus")
    if mix == baseline:
        return (0, "")
    return (1 + known.index(mix), "") if mix in known else (9, mix)
