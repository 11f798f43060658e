"""Errors by class, and the most frequent confusions, of each method."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saliencymixplus.pictures.style import figure_grid, finish_axes, method_label
from saliencymixplus.reporting.document import Block, Fold
from saliencymixplus.reporting.figures import Figures
from saliencymixplus.reporting.run_data import ReportedRun, Runs, errors_by, values_of
from saliencymixplus.tables import Column, Table, Value, number

DRAWN = 40  # with more classes, the confusion matrix is not drawn
LISTED = 20  # number of confusions listed


def classes_section(runs: Runs, figures: Figures) -> list[Block]:
    """Per-class errors, the confusion matrix and the most frequent confusions."""
    classes = values_of(runs, "per_class", "class")
    if not classes:
        return ["## Errors by class", "The runs have not been evaluated."]
    pairs = {mix: confusion(seeds) for mix, seeds in runs.items()}
    blocks: list[Block] = ["## Errors by class"]
    if len(classes) <= DRAWN and any(pairs.values()):
        caption = "Confusions: fraction of a class's test images, over all seeds, last epoch."
        blocks.append(figures.plot(_matrices(pairs, classes), "confusion", caption))
    blocks.append(errors_by(runs, "per_class", "class", "Top-1 error (%) by class"))
    return [*blocks, *(Fold("Most frequent confusions", [t]) for t in _most_confused(pairs))]


def confusion(seeds: Sequence[ReportedRun]) -> Counter[tuple[str, str]]:
    """Test images by actual and predicted class, summed over the seeds."""
    return Counter(
        (row["actual"], row["predicted"])
        for run in seeds
        for row in run.tables.get("confusion", ())
    )


def _most_confused(pairs: dict[str, Counter[tuple[str, str]]]) -> list[Table]:
    """A table of the confusions that are most frequent over all methods, if there are any."""
    total: Counter[tuple[str, str]] = Counter()
    for found in pairs.values():
        total.update({pair: n for pair, n in found.items() if pair[0] != pair[1]})
    if not total:
        return []
    columns = [Column("Class", "left"), Column("Predicted as", "left")]
    columns += [Column(method_label(mix), format=lambda n: number(n, 0)) for mix in pairs]
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:LISTED]
    rows: list[list[Value]] = [
        [*(name.replace("_", " ") for name in pair), *(found[pair] for found in pairs.values())]
        for pair, _ in ranked
    ]
    return [Table(columns, rows, "Test images, summed over seeds")]


def _matrices(pairs: dict[str, Counter[tuple[str, str]]], classes: Sequence[str]) -> Figure:
    """A matrix per method, rows are actual classes, each row summing to 1."""
    place = {name: at for at, name in enumerate(classes)}
    across = min(len(pairs), 4)
    down = -(-len(pairs) // across)
    fig, grid = figure_grid(down, across, 2.6 * across + 0.6, 3.1 * down + 0.1)
    cells = [axes for line in grid for axes in line]
    for axes in cells[len(pairs) :]:
        axes.set_visible(False)
    names = [name.replace("_", " ")[:14] for name in classes]
    labelled = len(classes) <= 15
    for at, (axes, (mix, found)) in enumerate(zip(cells, pairs.items(), strict=False)):
        matrix = np.zeros((len(classes), len(classes)))
        for (actual, predicted), count in found.items():
            if actual in place and predicted in place:
                matrix[place[actual], place[predicted]] = count
        matrix /= np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        # The square root makes rare confusions visible beside the diagonal.
        axes.imshow(np.sqrt(matrix), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_box_aspect(1)
        axes.set_xticks(range(len(classes)) if labelled else [], names if labelled else [])
        first = at % across == 0
        axes.set_yticks(range(len(classes)) if labelled and first else [])
        if labelled and first:
            axes.set_yticklabels(names)
        y = "Actual" if first else ""
        finish_axes(axes, x="Predicted", y=y, title=method_label(mix), grid=None)
        axes.tick_params(labelsize=7, length=0)
        axes.tick_params(axis="x", rotation=90 if max(map(len, names)) > 2 else 0)
    return fig
