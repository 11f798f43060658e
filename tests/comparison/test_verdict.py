"""The sentences on a comparison, for runs with known differences."""

import csv
import io
import re

import numpy as np
import pytest

from saliencymixplus.comparison.compare import compare
from saliencymixplus.comparison.result import load_comparison
from saliencymixplus.comparison.text import comparison_latex, comparison_markdown, csv_table
from saliencymixplus.comparison.verdict import verdict
from saliencymixplus.errors import UserError
from tests.helpers import write_run

N = 400


def wrong(start, stop):
    found = np.zeros(N, bool)
    found[start:stop] = True
    return found


@pytest.fixture
def compared(tmp_path):
    """Three seeds each: CutMix far better than nothing, mixup as good as CutMix, ResizeMix worse.

    Two more mistakes with every seed make seeds differ.
    """
    spans = {"none": (0, 100), "cutmix": (80, 120), "mixup": (81, 122), "resizemix": (0, 180)}
    for mix, (start, stop) in spans.items():
        for seed in range(3):
            write_run(tmp_path, wrong(start, stop + 2 * seed), mix=mix, seed=seed)
    return compare([tmp_path / "runs"], tmp_path / "out")


def test_ties_share_the_first_place_and_only_sure_differences_are_said(compared):
    (table,) = compared.tables
    assert set(table.ties) == {"cutmix", "mixup"}
    text = verdict(table)
    assert "CutMix and mixup share the lowest top-1 error" in text
    assert "Better than No mixing: CutMix (−15.00" in text
    assert "Worse than No mixing: ResizeMix (+20.00" in text
    assert re.search(r"points, p (=|<) 0\.\d{3}\)", text)
    assert "3 seeds can only reveal large differences" in text


def test_no_difference_is_called_none(tmp_path):
    for mix, stop in (("none", 40), ("cutmix", 41)):
        for seed in range(2):
            write_run(tmp_path, wrong(seed, stop + 3 * seed), mix=mix, seed=seed)
    (table,) = compare([tmp_path / "runs"], tmp_path / "out").tables
    assert "No significant difference between No mixing and CutMix" in verdict(table)
    assert "etter" not in verdict(table)


def test_one_seed_is_said_to_be_one(tmp_path):
    for mix, stop in (("none", 100), ("cutmix", 20)):
        write_run(tmp_path, wrong(0, stop), mix=mix)
    (table,) = compare([tmp_path / "runs"], tmp_path / "out").tables
    assert "CutMix has the lowest top-1 error: 5.00 %" in verdict(table)
    assert "There is one seed" in verdict(table)


def test_a_single_recipe_has_no_verdict(tmp_path):
    write_run(tmp_path, wrong(0, 3))
    (table,) = compare([tmp_path / "runs"], tmp_path / "out").tables
    assert (verdict(table), table.ties) == ("", [])


def test_the_json_gives_the_comparison_again(compared, tmp_path):
    path = tmp_path / "out/comparison.json"
    assert load_comparison(path) == compared
    path.write_text('{"tables": [{"title": 3}]}')
    with pytest.raises(UserError, match="of another version"):
        load_comparison(path)


def test_csv_and_latex_hold_the_same_numbers(compared, tmp_path):
    text = (tmp_path / "out/comparison.csv").read_text()
    assert text == csv_table(compared).csv()
    rows = {(row["method"], row["weights"]): row for row in csv.DictReader(io.StringIO(text))}
    assert set(rows) == {
        (mix, which)
        for mix in ("none", "cutmix", "mixup", "resizemix")
        for which in ("last", "best_test")
    }
    cutmix = rows["cutmix", "last"]
    assert float(cutmix["top-1 error mean"]) == pytest.approx(100 * 42 / N)
    assert float(cutmix["difference"]) == pytest.approx(-15)
    assert cutmix["seeds"] == "0, 1, 2"
    paper = (tmp_path / "out/comparison.tex").read_text()
    assert paper == comparison_latex(compared)
    assert r"CutMix & 10.50 $\pm$ 0.50 & {[}" in paper
    assert paper.count(r"\toprule") == 1
    assert "Median" not in paper


def test_top_5_errors_are_left_out_for_few_classes(compared):
    assert "Top-5" not in comparison_markdown(compared)
