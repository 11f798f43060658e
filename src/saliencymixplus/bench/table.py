"""Benchmark results as a table."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from saliencymixplus.pictures.style import method_label
from saliencymixplus.tables import Column, Getter, Table, number


def table(result: dict[str, Any]) -> Table:
    """The result of ``bench`` as a table, one row per recipe."""
    settings = result["settings"]
    title = (
        f"{settings['model']}, batch {settings['batch_size']}, {settings['image_size']} px, "
        f"{result['precision']}, {result['hardware']}, torch {result['versions']['torch']}, "
        f"{result['when']}"
    )
    columns: list[Getter[dict[str, Any]]] = [
        (Column("Method", "left"), lambda step: method_label(step["method"])),
        (Column("ms/step"), itemgetter("ms")),
        (Column("× plain"), lambda step: step.get("ratio_to_plain")),
        (Column("Mixing", format=_percent(1)), lambda step: step.get("mixing_share_of_plain", 0.0)),
        (Column("images/s", format=lambda n: number(n, 0)), itemgetter("images_per_second")),
        (Column("Of peak", format=_percent(0)), itemgetter("share_of_peak")),
        (Column("Whole run", format=_hours), lambda step: step.get("experiment_hours")),
    ]
    return Table.of(result["steps"], columns, title)


def _percent(digits: int) -> Callable[[float], str]:
    return lambda fraction: number(100 * fraction, digits, unit=" %")


def _hours(hours: float) -> str:
    return f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min"
