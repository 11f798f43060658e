"""Place and label of the box as two factors: nine recipes, and the effect of each factor alone."""

import numpy as np

from saliencymixplus.comparison.statistics import summarise_seeds
from saliencymixplus.study.results import Recipes, with_interval
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


def factorial(recipes: Recipes) -> list[str]:
    """Return the test errors by place and label and the effects of both, as lines of Markdown.

    An effect is the mean difference to the first level (random place, area label) over the three
    levels of the other factor, paired by seed, with Student's 95 % interval. Empty unless the cell
    has all nine recipes with a seed in common.
    """
    if not set(RECIPES.values()) <= recipes.keys():
        return []
    errors = {
        where: {row.seed: row.top1_error for row in recipes[name]}
        for where, name in RECIPES.items()
    }
    seeds = sorted(set.intersection(*(set(found) for found in errors.values())))
    if not seeds:
        return []
    # (place, label, seed)
    grid = np.array(
        [[[errors[place, label][s] for s in seeds] for label in LABELS] for place in PLACES]
    )
    rows: list[list[Value]] = [
        [place, *(number(value, 1) for value in grid[i].mean(1))] for i, place in enumerate(PLACES)
    ]
    table = Table([Column("box", "left"), *(Column(f"{label} label") for label in LABELS)], rows)
    effects = {
        **{f"{place} − random place": grid[i] - grid[0] for i, place in enumerate(PLACES) if i},
        **{f"{label} − area label": grid[:, i] - grid[:, 0] for i, label in enumerate(LABELS) if i},
    }
    listed: list[list[Value]] = [
        [name, with_interval(summarise_seeds(found.mean(0).tolist()), signed=True)]
        for name, found in effects.items()
    ]
    return [
        table.markdown(),
        "",
        f"Test error (%), mean over {len(seeds)} seeds.",
        "",
        Table([Column("effect", "left"), Column("points of test error")], listed).markdown(),
        "",
    ]
