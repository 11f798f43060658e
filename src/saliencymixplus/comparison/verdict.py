"""Summarise a comparison in sentences that claim no more than its tests support."""

from collections.abc import Sequence

from saliencymixplus.comparison.result import ResultRow, ResultTable
from saliencymixplus.tables import estimate, mean_sd, number, p_equation


def verdict(table: ResultTable) -> str:
    """Summarise the errors of the last epoch; empty for fewer than two rows.

    A method is called better or worse than the baseline only if both tests reject "no difference"
    at 5 %. Methods that do not differ significantly from the lowest mean share first place.
    """
    if len(table.rows) < 2:
        return ""
    sentences = [_lowest(table), *_against_baseline(table), _caution(table.rows)]
    return " ".join(sentence for sentence in sentences if sentence)


def _lowest(table: ResultTable) -> str:
    if len(table.ties) < 2:
        lowest = table.row(table.ties[0])
        error = lowest.errors["last"].top1_error
        return f"{lowest.label} has the lowest top-1 error: {mean_sd(error.mean, error.sd).text} %."
    names = [table.row(name).label for name in table.ties]
    if len(names) == len(table.rows):
        return f"No significant difference between {_listed(names)}: they share the lowest error."
    return f"{_listed(names)} share the lowest top-1 error: they do not differ significantly."


def _against_baseline(table: ResultTable) -> list[str]:
    better: list[str] = []
    worse: list[str] = []
    alike: list[str] = []
    for row in table.rows:
        found = row.errors["last"].difference
        if found is None:
            continue
        size = estimate(found.difference, found.low, found.high, signed=True).text
        text = f"{row.label} ({size} points, {p_equation(found.weaker_p_value)})"
        kind = alike if not found.significant else better if found.difference < 0 else worse
        kind.append(text)
    if len(table.ties) == len(table.rows):  # said already: no method differs from the lowest
        alike = []
    baseline = table.row(table.baseline).label
    return [
        f"{what} {baseline}: {', '.join(names)}."
        for what, names in (
            ("Better than", better),
            ("Worse than", worse),
            ("Not significantly different from", alike),
        )
        if names
    ]


def _caution(rows: Sequence[ResultRow]) -> str:
    seeds = min(row.errors["last"].top1_error.n for row in rows)
    if seeds == 1:
        return (
            "There is one seed: the p-values cover the choice of test images, not how much "
            "training varies from seed to seed."
        )
    return f"{number(seeds, 0)} seeds can only reveal large differences." if seeds < 5 else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
