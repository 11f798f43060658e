"""Place, label and truth as factors: the effect of each, in every cell and over all of them."""

from collections.abc import Sequence

import numpy as np

from saliencymixplus.comparison.statistics import SeedSummary, summarise_seeds
from saliencymixplus.study.results import Errors, Recipes, with_interval
from saliencymixplus.tables import Column, Table, Value, number

PLACES = ("random", "peak", "object")
LABELS = ("area", "saliency", "mask")
RECIPES = {
    ("random", "area"): "cutmix-sample-box",
    ("random", "saliency"): "plus-random-place",
    ("random", "mask"): "cutmix-mask",
    ("peak", "area"): "plus-area-label",
    ("peak", "saliency"): "saliencymixplus",
    ("peak", "mask"): "plus-mask-label",
    ("object", "area"): "cutmix-object",
    ("object", "saliency"): "plus-object-place",
    ("object", "mask"): "cutmix-object-mask",
}
# Each is the test error of the first recipe minus that of the second, averaged over the pairs.
EFFECTS: dict[str, Sequence[tuple[str, str]]] = {
    **{
        f"{place} − random place": [(RECIPES[place, lb], RECIPES["random", lb]) for lb in LABELS]
        for place in PLACES[1:]
    },
    **{
        f"{label} − area label": [(RECIPES[pl, label], RECIPES[pl, "area"]) for pl in PLACES]
        for label in LABELS[1:]
    },
    "exact − exchanged label": [
        ("cutmix-mask", "cutmix-mask-shuffled"),
        ("cutmix-object-mask", "cutmix-object-mask-shuffled"),
    ],
}


def effect(recipes: Recipes, pairs: Sequence[tuple[str, str]]) -> dict[int, float]:
    """Return the mean difference in test error over ``pairs`` by seed.

    Covers the seeds that all recipes of the pairs have; empty if a recipe is missing.
    """
    errors = {
        name: {row.seed: row.top1_error for row in recipes.get(name, ())}
        for pair in pairs
        for name in pair
    }
    seeds = sorted(set.intersection(*(set(found) for found in errors.values())))
    return {
        seed: float(
            np.mean([errors[first][seed] - errors[second][seed] for first, second in pairs])
        )
        for seed in seeds
    }


def summarise(by_seed: dict[int, float]) -> SeedSummary | None:
    """Mean and Student's 95 % interval over seeds; None without any."""
    return summarise_seeds(list(by_seed.values())) if by_seed else None


def pooled(cells: Errors, pairs: Sequence[tuple[str, str]]) -> dict[int, float]:
    """Return the mean of an effect over all cells that have it, by seed.

    Trainings with the same seed share initial weights across cells, so cells are averaged first,
    and the interval comes from the seeds that all these cells have.
    """
    found = [by_seed for recipes in cells.values() if (by_seed := effect(recipes, pairs))]
    seeds = sorted(set.intersection(*map(set, found))) if found else []
    return {seed: float(np.mean([by_seed[seed] for by_seed in found])) for seed in seeds}


def grid(recipes: Recipes) -> list[str]:
    """Return the test errors by place and label as lines of Markdown.

    Empty unless the cell has all nine recipes with a seed in common.
    """
    seeds = effect(recipes, [(name, name) for name in RECIPES.values()])
    if not seeds:
        return []
    means = {
        where: np.mean([row.top1_error for row in recipes[name] if row.seed in seeds])
        for where, name in RECIPES.items()
    }
    rows: list[list[Value]] = [
        [place, *(number(float(means[place, label]), 1) for label in LABELS)] for place in PLACES
    ]
    table = Table([Column("box", "left"), *(Column(f"{label} label") for label in LABELS)], rows)
    return [table.markdown(), "", f"Test error (%), mean over {len(seeds)} seeds.", ""]


def effects_table(cells: Errors) -> list[str]:
    """Return the effects in each cell, and their mean over the cells, as lines of Markdown.

    Empty if no cell has the recipes of an effect.
    """
    by_cell = {
        f"{cell.object_size} of {cell.image_size}, {cell.train_digits} digits": [
            summarise(effect(recipes, pairs)) for pairs in EFFECTS.values()
        ]
        for cell, recipes in cells.items()
    }
    means = [summarise(pooled(cells, pairs)) for pairs in EFFECTS.values()]
    rows: list[list[Value]] = [
        [title, *(_text(value) for value in values)]
        for title, values in [*by_cell.items(), ("mean over cells", means)]
        if any(values)
    ]
    if not rows:
        return []
    columns = [Column("object in image", "left"), *map(Column, EFFECTS)]
    return [
        "## Place, label and truth",
        "",
        Table(columns, rows).markdown(),
        "",
        "Points of test error, averaged over the levels of the other factor and paired by seed, "
        "with Student's 95 % interval. Below zero, the first is better.",
        "",
    ]


def _text(found: SeedSummary | None) -> str | None:
    return None if found is None else with_interval(found, signed=True)
