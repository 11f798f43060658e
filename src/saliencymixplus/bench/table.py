"""The figures of a benchmark for a terminal."""

from typing import Any

from rich.table import Table


def table(result: dict[str, Any]) -> Table:
    """What ``bench`` returned, a row a recipe."""
    settings = result["settings"]
    title = (
        f"{settings['model']}, batch {settings['batch_size']}, {settings['image_size']} px, "
        f"{result['precision']}, {result['hardware']}"
    )
    found = Table(title=title, caption=f"torch {result['versions']['torch']}, {result['when']}")
    found.add_column("method", no_wrap=True)
    for name in ("ms/step", "× plain", "mixing", "images/s", "of peak", "whole run"):
        found.add_column(name, justify="right")
    for step in result["steps"]:
        hours = step.get("experiment_hours")
        found.add_row(
            step["method"],
            f"{step['ms']:.2f}",
            f"{step['ratio_to_plain']:.2f}" if "ratio_to_plain" in step else "",
            f"{100 * step.get('mixing_share_of_plain', 0.0):.1f} %",
            f"{step['images_per_second']:,.0f}",
            f"{100 * step['share_of_peak']:.0f} %",
            "" if hours is None else f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min",
        )
    return found
