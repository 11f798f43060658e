"""Comparisons of run folders with known results."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.comparison.compare import compare
from saliencymixplus.comparison.plots import frontier
from saliencymixplus.comparison.published import Published
from saliencymixplus.comparison.result import Comparison, load_comparison
from saliencymixplus.comparison.statistics import paired_bootstrap
from saliencymixplus.comparison.text import comparison_markdown, notes, print_tables
from saliencymixplus.errors import UserError
from saliencymixplus.reporting.run_data import collect_runs
from tests.helpers import write_run

N = 60


def wrong(*images):
    found = np.zeros(N, bool)
    found[list(images)] = True
    return found


@pytest.fixture
def runs(tmp_path):
    """Two seeds without mixing (10 and 14 mistakes), two of CutMix (7 and 9), one of its best."""
    write_run(tmp_path, wrong(*range(10)), mix="none", seed=0, seconds=10)
    write_run(tmp_path, wrong(*range(14)), mix="none", seed=1, seconds=12)
    write_run(tmp_path, wrong(*range(3, 10)), mix="cutmix", seed=0, seconds=20)
    write_run(tmp_path, wrong(*range(3, 12)), mix="cutmix", seed=1, seconds=22)
    return tmp_path / "runs"


def test_figures_by_hand(runs, tmp_path):
    (table,) = compare([runs], tmp_path / "out").tables
    plain, cutmix = table.rows
    assert (plain.name, cutmix.name, table.baseline) == ("none", "cutmix", "none")
    assert (table.dataset, table.model, table.test_images) == ("halves", "resnet8", N)
    assert plain.errors["last"].top1_error.mean == pytest.approx(100 * 12 / N)
    assert cutmix.errors["last"].top1_error.mean == pytest.approx(100 * 8 / N)
    assert cutmix.errors["last"].per_seed_top1_error == pytest.approx([100 * 7 / N, 100 * 9 / N])
    assert cutmix.errors["last"].top5_error.mean == pytest.approx(100 * 8 / N)
    assert cutmix.errors["best_test"].top1_error.mean == pytest.approx(100 * 7 / N)
    assert "best_validation" not in cutmix.errors
    assert plain.errors["last"].difference is None
    expected = paired_bootstrap(
        [wrong(*range(3, 10)), wrong(*range(3, 12))], [wrong(*range(10)), wrong(*range(14))]
    )
    assert cutmix.errors["last"].difference == expected
    assert expected.difference == pytest.approx(-100 * 4 / N)
    assert (cutmix.seconds.mean, cutmix.passes.mean) == (21, 100.5)
    assert cutmix.metrics["nll"].mean == 1.0
    assert cutmix.seeds == [0, 1]


def test_intervals_of_errors_end_at_0_and_100_percent(tmp_path):
    for mix, mistakes in (("none", (0, 9)), ("cutmix", (N - 9, N))):
        for seed, count in enumerate(mistakes):
            write_run(tmp_path, wrong(*range(count)), mix=mix, seed=seed)
    text = comparison_markdown(compare([tmp_path / "runs"], tmp_path / "out"))
    # Means 7.5 and 92.5 %, ± 12.706 × 7.5 (Student's t for one degree of freedom).
    assert "| 7.50 ± 10.61 | [0.00, 100.00] |" in text
    assert "| 92.50 ± 10.61 | [0.00, 100.00] |" in text


def test_files(runs, tmp_path):
    out = tmp_path / "out"
    comparison = compare([runs], out)
    content = json.loads((out / "comparison.json").read_text())
    assert content["tables"][0]["rows"][1]["name"] == "cutmix"
    assert content == json.loads(json.dumps(comparison.to_json()))
    metrics = json.loads((out / "metrics" / "cutmix.json").read_text())
    assert metrics["top1_error"] == pytest.approx(100 * 8 / N, abs=1e-5)
    text = (out / "comparison.md").read_text()
    assert "| CutMix | 13.33 ± 2.36 |" in text
    assert "### Best test epoch (optimistic: the test images select it)" in text
    assert "### Best validation epoch" not in text
    for name in ("comparison.png", "pareto.png"):
        assert np.asarray(Image.open(out / name)).std() > 5  # something is drawn


def test_terminal_tables_keep_to_their_width(runs, tmp_path, capsys):
    comparison = compare([runs], tmp_path / "out")
    print_tables(comparison)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert any("CutMix" in line and "13.33 ± 2.36" in line for line in lines)


def test_published_figures_stand_beside_best_on_test(runs, tmp_path, capsys):
    (table,) = compare([runs], tmp_path / "out").tables
    rows = [
        replace(
            row,
            name=f"{row.name}-{i}-published",
            published=Published(24.95, 7.0, i == 0, differences="the start"),
        )
        for i, row in enumerate(table.rows)
    ]
    names = {row.name: changed.name for row, changed in zip(table.rows, rows, strict=True)}
    ties = [names[name] for name in table.ties]
    changed = replace(table, rows=rows, baseline=names[table.baseline], ties=ties)
    comparison = Comparison([changed])
    text = comparison_markdown(comparison)
    best = text[text.index("### Best test epoch") :]
    assert "24.95/7.00 |" in best
    assert "24.95/7.00† |" in best
    assert "corrected variant" in best
    assert text.count("Ours differ from the paper in what no setting covers: the start.") == 1
    assert "24.95" not in text[: text.index("### Best test epoch")]
    print_tables(comparison)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_equal_runs_give_equal_files(runs, tmp_path):
    compare([runs], tmp_path / "one")
    compare([runs], tmp_path / "two")
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert files
    for path in files:
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == twin.read_bytes()


def test_any_two_runs_by_path(tmp_path):
    one = write_run(tmp_path / "a", wrong(1, 2), mix="cutmix", seed=0, experiment="x")
    two = write_run(tmp_path / "b", wrong(1, 2, 3), mix="cutmix", seed=4, model="resnet20")
    (table,) = compare([one, two], tmp_path / "out").tables
    names = [row.name for row in table.rows]
    assert names == ["cutmix (resnet8, x)", "cutmix (resnet20, tiny)"]
    assert table.rows[1].errors["last"].difference.difference == pytest.approx(100 / N)
    assert any("no seed in common" in note for note in table.notes)
    assert any("baseline" in note for note in table.notes)


def test_recipes_of_one_method_are_told_apart(tmp_path):
    one = write_run(tmp_path / "a", wrong(1), mix="none", epochs=1)
    two = write_run(tmp_path / "b", wrong(1, 2), mix="none", epochs=2)
    (table,) = compare([one, two], tmp_path / "out").tables
    assert [row.name for row in table.rows] == ["none (epochs=1)", "none (epochs=2)"]


def test_what_decides_no_weight_makes_no_recipe(tmp_path):
    one = write_run(tmp_path / "a", wrong(1), seed=0, sample_epochs=[1])
    two = write_run(tmp_path / "b", wrong(2), seed=1, sample_epochs=[2])
    (table,) = compare([one, two], tmp_path / "out").tables
    assert [row.seeds for row in table.rows] == [[0, 1]]


def test_a_table_per_model(tmp_path):
    for model in ("resnet8", "resnet20"):
        for mix in ("none", "cutmix"):
            write_run(tmp_path / model, wrong(1), mix=mix, model=model)
    tables = compare([tmp_path / "resnet8", tmp_path / "resnet20"], tmp_path / "out").tables
    assert [table.model for table in tables] == ["resnet8", "resnet20"]


def test_seeds_that_only_one_side_has_are_said(runs, tmp_path):
    write_run(tmp_path, wrong(1), mix="saliencymix", seed=1)
    (table,) = compare([runs], tmp_path / "out").tables
    assert table.rows[2].errors["last"].difference.seeds == 1
    assert any("without seed 0" in note for note in table.notes)


def test_missing_runs_are_named_and_how_to_evaluate_them(runs, tmp_path):
    (runs / "tiny/cutmix/seed0/summary.json").unlink()
    (tmp_path / "evaluations/tiny/none/seed1/predictions.npz").unlink()
    (tmp_path / "evaluations/tiny/cutmix/seed1/evaluation.json").unlink()
    with pytest.raises(UserError) as error:
        compare([runs, runs / "tiny/mixup/seed0"], tmp_path / "out")
    message = str(error.value)
    assert "4 of 5 runs" in message
    for part in (
        "cutmix/seed0 is not a fin",
        "none/seed1/predictions.npz does not exist",
        "cutmix/seed1 is not evaluated",
        "run `python cli.py evaluate ",
        "mixup/seed0 does",
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_an_evaluation_of_another_training_is_refused(runs, tmp_path):
    path = tmp_path / "evaluations/tiny/none/seed1/evaluation.json"
    about = json.loads(path.read_text())
    about["run"]["digest"] = "0123456789abcdef"
    path.write_text(json.dumps(about))
    with pytest.raises(UserError, match="a different run"):
        compare([runs], tmp_path / "out")


def test_an_evaluation_of_earlier_weights_is_refused(runs, tmp_path):
    run, measured = runs / "tiny/none/seed1", tmp_path / "evaluations/tiny/none/seed1"
    about = json.loads((measured / "evaluation.json").read_text())
    beside = run / "weights" / "last.json"
    beside.parent.mkdir()
    beside.write_text(json.dumps({"digest": about["run"]["digest"], "sha256": "a" * 64}))
    about["run"]["weights"] = "a" * 64
    (measured / "evaluation.json").write_text(json.dumps(about))
    compare([runs], tmp_path / "out")

    beside.write_text(json.dumps({"digest": about["run"]["digest"], "sha256": "b" * 64}))
    command = f"`python cli.py evaluate {run} --output {measured}`"
    for read in (lambda: compare([runs], tmp_path / "out"), lambda: collect_runs([run])):
        with pytest.raises(UserError, match=f"earlier weights of {run}: .*{command}"):
            read()


def test_a_damaged_prediction_file_is_named(runs, tmp_path):
    path = tmp_path / "evaluations/tiny/none/seed1/predictions.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"predictions\.npz is damaged"):
        compare([runs], tmp_path / "out")


def test_the_same_training_twice_is_refused(tmp_path):
    one = write_run(tmp_path / "a", wrong(1))
    two = write_run(tmp_path / "b", wrong(2))
    with pytest.raises(UserError, match="the same run"):
        compare([one, two], tmp_path / "out")


def test_a_misspelt_baseline_suggests_the_nearest(runs, tmp_path):
    with pytest.raises(UserError, match="did you mean 'cutmix'"):
        compare([runs], tmp_path / "out", baseline="cutmx")


def test_another_baseline(runs, tmp_path):
    (table,) = compare([runs], tmp_path / "out", baseline="cutmix").tables
    assert [row.name for row in table.rows] == ["cutmix", "none"]
    assert table.rows[1].errors["last"].difference.difference == pytest.approx(100 * 4 / N)


def test_one_run_alone_is_a_table_without_differences(tmp_path):
    run = write_run(tmp_path, wrong(1, 2, 3))
    (table,) = compare([run], tmp_path / "out").tables
    assert table.rows[0].errors["last"].top1_error.mean == pytest.approx(5)
    assert "Difference" not in (tmp_path / "out/comparison.md").read_text().split("Errors in")[0]


def test_frontier_keeps_what_nothing_beats():
    points = [(1.0, 9.0), (2.0, 7.0), (2.0, 8.0), (3.0, 7.0), (4.0, 5.0)]
    assert frontier(points) == [(1.0, 9.0), (2.0, 7.0), (4.0, 5.0)]


def test_a_model_name_from_a_strangers_settings_leaves_no_file_elsewhere(tmp_path):
    one = write_run(tmp_path / "a", wrong(1), mix="none")
    two = write_run(tmp_path / "b", wrong(1, 2), mix="none", model="../../../../escaped")
    three = write_run(tmp_path / "c", wrong(1, 2), mix="none", model="timm/resnet18")
    out = tmp_path / "deep" / "out"
    compare([one, two, three], out)
    metrics = sorted(path.name for path in (out / "metrics").iterdir())
    assert len(metrics) == 3
    assert "none (timm_resnet18).json" in metrics
    assert not [path for path in tmp_path.rglob("*escaped*") if path.parent != out / "metrics"]


def with_errors(folder, errors):
    """Give a run the errors on test ``errors``, one for each epoch."""
    path = folder / "history.csv"
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index("test_top1_error")
    for i, error in enumerate(errors, 1):
        fields = lines[i].split(",")
        fields[place] = str(error)
        lines[i] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("differences", ["", "the crop"])
def test_the_median_of_the_last_ten_epochs(tmp_path, monkeypatch, differences):
    last = [20, 31, 22, 23, 24, 25, 26, 27, 28, 19]  # its median: (24 + 25) / 2
    for seed, shift in ((0, 0), (1, 3)):
        folder = write_run(tmp_path, wrong(*range(10)), mix="mixup", seed=seed, epochs=12)
        with_errors(folder, [1, 1, *(error + shift for error in last)])
    figure = Published(
        25.0,
        None,
        exact=True,
        median=True,
        source="a zoo",
        differences=differences,
        method_differences="the head" if differences else "",
    )
    monkeypatch.setattr("saliencymixplus.comparison.compare.published", lambda run: figure)
    comparison = compare([tmp_path / "runs"], tmp_path / "out")
    (row,) = comparison.tables[0].rows
    assert (row.median.mean, row.median.n) == (26.0, 2)
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "Median of last 10 epochs | Published |" in text
    assert "26.00 ± 2.12 | 25.00 |" in text
    note, *others = notes(comparison.tables[0])
    assert others == ["With mixup, ours also differ from a zoo: the head."] * bool(differences)
    assert note.startswith("Published by a zoo: the median top-1 error of the last ten epochs")
    assert ("in what no setting covers: the crop." in note) == bool(differences)
    assert "26.00" in (tmp_path / "out" / "comparison.tex").read_text()
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        cells = {line["weights"]: line for line in csv.DictReader(file)}
    assert cells["last"]["median of last 10 epochs mean"] == "26"
    assert cells["best_test"]["median of last 10 epochs mean"] == ""
    metrics = json.loads((tmp_path / "out" / "metrics" / "mixup.json").read_text())
    error = comparison.tables[0].rows[0].errors["last"].top1_error
    assert metrics["top1_error"] == pytest.approx(error.mean, abs=1e-6)
    assert metrics["half_width_95"] == pytest.approx((error.high - error.low) / 2, abs=1e-6)
    assert sorted(metrics) == ["half_width_95", "seconds", "top1_error"]
    assert load_comparison(tmp_path / "out" / "comparison.json") == comparison


def test_fewer_than_ten_epochs_have_no_median(runs, tmp_path):
    (table,) = compare([runs], tmp_path / "out").tables
    assert [row.median for row in table.rows] == [None, None]
    assert "Median" not in (tmp_path / "out" / "comparison.md").read_text()
