"""Figures and numbers of the audit."""

import numpy as np

from saliencymixplus.audit.figures import epochs_figure, errors_figure
from saliencymixplus.audit.text import estimates_table
from saliencymixplus.bootstrap import Estimate
from saliencymixplus.pictures.style import method_styles


def test_numbers_are_printed_with_true_signs_and_zeros_without():
    estimates = {
        name: Estimate(-0.0342, -0.05, -0.0001) for name in ("bias", "area_mean_absolute_error")
    }
    cells = estimates_table(
        {"cutmix": estimates}, {"bias": "Bias", "area_mean_absolute_error": "Area"}, ["cutmix"]
    )
    assert cells.markdown().splitlines()[-1] == "| CutMix | −0.034 [−0.050, 0.000] | −0.034 |"
    estimates = {"bias": Estimate(0.1, 0.05, np.nan), "spread": Estimate(np.nan, 0, 0)}
    cells = estimates_table({"cutmix": estimates}, {"bias": "Bias", "spread": "Spread"}, ["cutmix"])
    assert cells.markdown().splitlines()[-1] == "| CutMix | +0.100 [+0.050, –] | – |"


def test_marks_are_drawn_whole():
    found = {
        name: {
            metric: Estimate(value, 0.9 * value, 1.02 * value)
            for metric in ("mean_absolute_error", "bias", "no_object")
        }
        | {"area_mean_absolute_error": Estimate(0.1, 0.1, 0.1)}
        for name, value in (("cutmix", 0.09), ("saliencymixplus", 0.08))
    }
    left = errors_figure(found).axes[0]
    left.figure.canvas.draw()
    room = left.transData.transform((left.get_xlim()[1], 0)) - left.transData.transform((0.1, 0))
    assert room[0] > 4.5 * left.figure.dpi / 72  # half of the hollow mark, 9 points wide


def test_level_lines_end_in_their_mark():
    found = {
        name: dict.fromkeys(
            ("mean_absolute_error", "no_object", "map_on_object", "object_area"),
            Estimate(0.1, 0.05, 0.2),
        )
        for name in ("cutmix", "saliencymixplus")
    }
    axes = epochs_figure({"saliencymixplus": {1: found["cutmix"], 9: found["cutmix"]}}, found).axes[
        0
    ]
    styles = method_styles(found)
    marks = {line.get_label(): line.get_marker() for line in axes.lines}
    assert marks == {style.label: style.marker for style in styles.values()}
    assert axes.get_xlim()[0] > 0.5  # the line's ends are shares of the axis, not epochs
