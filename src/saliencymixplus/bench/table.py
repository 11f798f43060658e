"""Benchmark results as a table."""

from typing import Any

from saliencymixplus.pictures.style import method_label
from saliencymixplus.tables import Column, Table, number


def table(result: dict[str, Any]) -> Table:
    """The result of ``bench`` as a table, one row per recipe."""
    settings = result["settings"]
    title = (
        f"{settings['model']}, batch {settings['batch_size']}, {settings['image_size']} px, "
        f"{result['precision']}, {result['hardware']}, torch {result['versions']['torch']}, "
        f"{result['when']}"
    )
    columns = [
        Column("Method", "left"),
        Column("ms/step"),
        Column("× plain"),
        Column("Mixing", format=lambda fraction: number(100 * fraction, 1, unit=" %")),
        Column("images/s", format=lambda rate: number(rate, 0)),
        Column("Of peak", format=lambda fraction: number(100 * fraction, 0, unit=" %")),
        Column("Whole run", format=_hours),
    ]
    rows = [
        [
            method_label(step["method"]),
            step["ms"],
            step.get("ratio_to_plain"),
            step.get("mixing_share_of_plain", 0.0),
            step["images_per_second"],
            step["share_of_peak"],
            step.get("experiment_hours"),
        ]
        for step in result["steps"]
    ]
    return Table(columns, rows, title)


def _hours(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min"
