"""Place and label as factors, against effects computed by hand."""

from dataclasses import replace

from saliencymixplus.study.cell import Row
from saliencymixplus.study.factorial import LABELS, PLACES, RECIPES, factorial
from saliencymixplus.study.results import Recipes


def recipes(**missing: int) -> dict[str, list[Row]]:
    """Error 30, one point less for each step of place, two of label, and 0, 1, 2 by seed."""
    return {
        name: [
            Row(8, 16, 100, name, seed, 30.0 + seed - i - 2 * j, 1.0, 0.1, 0.1)
            for seed in (0, 1, 2)
            if missing.get(name.replace("-", "_")) != seed
        ]
        for i, place in enumerate(PLACES)
        for j, label in enumerate(LABELS)
        for name in [RECIPES[place, label]]
    }


def text(found: Recipes) -> list[str]:
    return [line for line in factorial(found) if line]


def test_effects_of_place_and_label_by_hand() -> None:
    assert text(recipes()) == [
        "| box | area label | saliency label | mask label |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| random | 31.0 | 29.0 | 27.0 |\n"
        "| peak | 30.0 | 28.0 | 26.0 |\n"
        "| object | 29.0 | 27.0 | 25.0 |",
        "Test error (%), mean over 3 seeds.",
        "| effect | points of test error |\n"
        "| --- | ---: |\n"
        "| peak − random place | −1.0 [−1.0, −1.0] |\n"
        "| object − random place | −2.0 [−2.0, −2.0] |\n"
        "| saliency − area label | −2.0 [−2.0, −2.0] |\n"
        "| mask − area label | −4.0 [−4.0, −4.0] |",
    ]


def test_an_effect_is_paired_by_seed() -> None:
    """One recipe is off by 3, 0 and 6: of three places a mean of 1, 0 and 2."""
    found = recipes()
    found["plus-mask-label"] = [
        replace(row, top1_error=row.top1_error + more)
        for row, more in zip(found["plus-mask-label"], (3, 0, 6), strict=True)
    ]
    # mask − area: −4 + (1, 0, 2); mean −3, s.d. 1, Student's t 4.3027 / √3.
    assert "| mask − area label | −3.0 [−5.5, −0.5] |" in "\n".join(text(found))


def test_only_seeds_of_all_nine_recipes_count() -> None:
    assert "Test error (%), mean over 2 seeds." in text(recipes(plus_mask_label=1))


def test_an_incomplete_cell_has_no_factors() -> None:
    found = recipes()
    del found["cutmix-object"]
    assert factorial(found) == []
    found = recipes()
    found["cutmix-object"] = found["cutmix-object"][:1]
    found["cutmix-mask"] = found["cutmix-mask"][1:]
    assert factorial(found) == []
