"""Place, label and truth as factors, against effects computed by hand."""

from dataclasses import replace

import pytest

from saliencymixplus.study.cell import Row
from saliencymixplus.study.curves import factors
from saliencymixplus.study.factorial import (
    EFFECTS,
    LABELS,
    PLACES,
    RECIPES,
    effect,
    effects_table,
    grid,
    pooled,
    summarise,
)
from saliencymixplus.study.results import Recipes, StudyCell

SMALL, LARGE = StudyCell(100, 16, 8), StudyCell(100, 16, 12)


def recipes(**missing: int) -> dict[str, list[Row]]:
    """Error 30, one point less for each step of place, two of label, and 0, 1, 2 by seed.

    Exchanging the labels costs four points.
    """
    levels = {
        RECIPES[place, label]: i + 2 * j
        for i, place in enumerate(PLACES)
        for j, label in enumerate(LABELS)
    }
    levels |= {
        f"{name}-shuffled": levels[name] - 4 for name in ("cutmix-mask", "cutmix-object-mask")
    }
    return {
        name: [
            Row(8, 16, 100, name, seed, 30.0 + seed - gain, 1.0, 0.1, 0.1)
            for seed in (0, 1, 2)
            if missing.get(name.replace("-", "_")) != seed
        ]
        for name, gain in levels.items()
    }


def effects(found: Recipes) -> dict[str, float | None]:
    summaries = {name: summarise(effect(found, pairs)) for name, pairs in EFFECTS.items()}
    return {name: value and value.mean for name, value in summaries.items()}


def test_effects_of_place_label_and_truth_by_hand() -> None:
    assert grid(recipes())[0] == (
        "| box | area label | saliency label | mask label |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| random | 31.0 | 29.0 | 27.0 |\n"
        "| peak | 30.0 | 28.0 | 26.0 |\n"
        "| object | 29.0 | 27.0 | 25.0 |"
    )
    assert effects(recipes()) == {
        "peak − random place": -1,
        "object − random place": -2,
        "saliency − area label": -2,
        "mask − area label": -4,
        "exact − exchanged label": -4,
    }


def test_an_effect_is_paired_by_seed() -> None:
    """One recipe is off by 3, 0 and 6: of three places a mean of 1, 0 and 2."""
    found = recipes()
    found["plus-mask-label"] = [
        replace(row, top1_error=row.top1_error + more)
        for row, more in zip(found["plus-mask-label"], (3, 0, 6), strict=True)
    ]
    assert effect(found, EFFECTS["mask − area label"]) == {0: -3, 1: -4, 2: -2}
    # Mean −3, s.d. 1, Student's t 4.3027 / √3.
    assert "| −3.0 [−5.5, −0.5] |" in "\n".join(effects_table({SMALL: found}))


def test_only_seeds_of_all_recipes_count() -> None:
    found = recipes(plus_mask_label=1)
    assert "Test error (%), mean over 2 seeds." in grid(found)
    assert grid(found)[0].splitlines()[2] == "| random | 31.0 | 29.0 | 27.0 |"
    assert list(effect(found, EFFECTS["mask − area label"])) == [0, 2]
    assert list(effect(found, EFFECTS["exact − exchanged label"])) == [0, 1, 2]


def test_a_missing_recipe_takes_away_its_effects_alone() -> None:
    found = recipes()
    del found["plus-object-place"]
    assert grid(found) == []
    assert [name for name, value in effects(found).items() if value is not None] == [
        "peak − random place",
        "mask − area label",
        "exact − exchanged label",
    ]
    found = recipes()
    found["cutmix-object"] = found["cutmix-object"][:1]
    found["cutmix-mask"] = found["cutmix-mask"][1:]
    assert grid(found) == []
    assert effects_table({SMALL: {"none": []}}) == []


def test_cells_are_averaged_before_seeds() -> None:
    """Effects of −4, −4, −4 in one cell and −2, −8 in another, which lacks the third seed."""
    other = recipes(cutmix_mask=2)
    other["cutmix-mask-shuffled"] = [
        replace(row, top1_error=row.top1_error + more)
        for row, more in zip(other["cutmix-mask-shuffled"], (-4, 8, 0), strict=True)
    ]
    cells = {SMALL: recipes(), LARGE: other}
    pairs = EFFECTS["exact − exchanged label"]
    assert effect(other, pairs) == {0: -2, 1: -8}
    assert pooled(cells, pairs) == {0: -3, 1: -6}
    assert pooled({}, pairs) == {}
    # Mean −4.5, s.d. 1.5 √2, Student's t for one degree of freedom 12.706 / √2.
    lines = effects_table(cells)[2].splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| 8 of 16, 100 digits",
        "| 12 of 16, 100 digits",
        "| mean over cells",
    ]
    assert lines[-1].endswith("| −4.5 [−23.6, +14.6] |")


def test_effects_are_drawn_over_object_size() -> None:
    other = {
        name: [
            replace(row, top1_error=row.top1_error - 2 * (name in ("cutmix-mask",))) for row in rows
        ]
        for name, rows in recipes().items()
    }
    del other["plus-random-place"]  # in no panel then: the effects of place and of saliency
    fig = factors({SMALL: recipes(), LARGE: other})
    assert fig is not None
    (axes,) = fig.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "12"]
    drawn = {c.get_label(): c.lines[0].get_ydata().tolist() for c in axes.containers}
    assert drawn == {
        "mask − area label": [-4, pytest.approx(-4 - 2 / 3)],
        "exact − exchanged label": [-4, -5],
    }


def test_an_effect_is_drawn_where_two_cells_have_it() -> None:
    """A cell without any is left out."""
    other = recipes()
    del other["cutmix-object"], other["cutmix-mask-shuffled"]
    cells = {
        SMALL: recipes(),
        StudyCell(100, 16, 10): other,
        LARGE: recipes(),
        StudyCell(100, 16, 14): {},
    }
    fig = factors(cells)
    assert fig is not None
    (axes,) = fig.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "10", "12"]
    drawn = {c.get_label(): len(c.lines[0].get_ydata()) for c in axes.containers}
    assert drawn == {
        "peak − random place": 3,
        "object − random place": 2,
        "saliency − area label": 2,
        "mask − area label": 2,
        "exact − exchanged label": 2,
    }


def test_one_cell_or_no_effect_is_not_drawn() -> None:
    plain = {"none": [Row(8, 16, 100, "none", 0, 30.0, 1.0, None, None)]}
    assert factors({SMALL: recipes()}) is None
    assert factors({SMALL: plain, LARGE: plain}) is None
