"""The study: a cell from end to end, reading its rows, and the regression by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saliencymixplus.commands.app import app
from saliencymixplus.datasets.cache import prepared
from saliencymixplus.errors import UserError
from saliencymixplus.outputs import check_files, check_folder
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import load_params
from saliencymixplus.settings.params import Params
from saliencymixplus.study import cell, report
from saliencymixplus.study.cell import Row, cell_overrides, run_cell, write_rows
from saliencymixplus.study.curves import gains
from saliencymixplus.study.effects import effects
from saliencymixplus.study.loop import Epoch, StudyCell, loop_figure
from saliencymixplus.study.report import write_report
from saliencymixplus.study.results import by_cell, read_cells, read_loops, regression

REPOSITORY = Path(__file__).parents[2]
SMALL = [
    "study.methods=[none, cutmix-sample-box, saliencymixplus, cutmix-object-mask]",
    "study.seeds=[0, 1]",
    "audit.images=32",
    "audit.epoch_images=32",
    "clutter.data.image_size=12",
    "clutter.data.clutter.test_placements=1",
    "clutter.data.clutter.scraps=1",
    "clutter.data.clutter.scrap_size=3",
    "study.images_seen=80",
    "clutter.training.warmup_epochs=0",
    "clutter.training.sample_epochs=[]",
    "clutter.training.weights_epochs=[1, 2]",
    "clutter.training.batch_size=16",
]


def row(method: str, error: float, label: float | None, empty: float, size: int = 8) -> Row:
    return Row(size, 16, 100, method, 0, error, 1.0, label, None if label is None else empty)


def test_a_cell_trains_and_audits_every_recipe(tmp_path: Path, state: Path) -> None:
    path = REPOSITORY / "params.yaml"
    study = load_params(path, SMALL).top.study
    assert study is not None
    params = load_params(path, [*SMALL, *cell_overrides(study, 6, 40)])
    section = params.experiment("clutter")
    said: list[str] = []
    data = prepared(section, "clutter", report=said.append)
    rows = run_cell(params, data, tmp_path / "cell", jobs=1)
    assert {(r.object_size, r.train_digits, r.image_size) for r in rows} == {(6, 40, 12)}
    assert [(r.method, r.seed) for r in rows] == [
        (method, seed) for method in study.methods for seed in study.seeds
    ]
    for r in rows:
        run = load_run(tmp_path / "cell" / "runs" / r.method / f"seed{r.seed}")
        assert r.top1_error == run.history[-1].test_top1_error
    labels = {r.method: r.label_error for r in rows}
    assert labels["none"] is None
    assert labels["cutmix-sample-box"] > 0.1
    assert labels["cutmix-object-mask"] == pytest.approx(0, abs=1e-6)
    assert read_cells([tmp_path / "cell"]) == rows
    _check_that_runs_are_kept(params, data, tmp_path / "cell", rows)
    loops = read_loops([tmp_path / "cell"])
    ((where, epochs),) = loops.items()
    assert where == (40, 12, 6)
    assert [(e.method, e.seed, e.epoch) for e in epochs] == [
        ("saliencymixplus", seed, epoch) for seed in study.seeds for epoch in (1, 2)
    ]
    for e in epochs:
        run = load_run(tmp_path / "cell" / "runs" / e.method / f"seed{e.seed}")
        assert e.top1_error == run.history[e.epoch - 1].test_top1_error
        assert 0.05 < e.label_error < 0.5
        assert 0.02 < e.object_area < 0.2
        assert 0 < e.map_on_object < 1
    assert len({e.map_on_object for e in epochs}) == len(epochs)  # other networks, other maps
    write_report(rows, loops, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").rglob("*.*")}
    # One cell and two recipes to compare: no factors and no regression.
    assert names == {
        *("study.csv", "study.md"),
        *("gains.png", "curves.png", "effects.png", "loop.png"),
    }
    write_report(rows, {}, tmp_path / "report")
    assert not (tmp_path / "report/figures/loop.png").exists()
    check_folder(tmp_path / "report", report.OUTPUT)  # both may be written again
    check_files(tmp_path / "cell", cell.OUTPUT)


def _check_that_runs_are_kept(params: Params, data: Path, folder: Path, rows: list[Row]) -> None:
    """An interrupted cell, of which one run is missing, cannot be read and trains that run only."""
    runs = sorted(folder.glob("runs/*/*"))
    before = [(run / "summary.json").stat().st_mtime_ns for run in runs]
    shutil.rmtree(runs[2])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell, "audit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_cell(params, data, folder, jobs=1)
    after = [(run / "summary.json").stat().st_mtime_ns for run in runs]
    assert [a != b for a, b in zip(before, after, strict=True)] == [
        i == 2 for i in range(len(runs))
    ]
    with pytest.raises(UserError, match="does not exist"):
        read_cells([folder])
    again = run_cell(params, data, folder, jobs=1)
    assert [replace(r, seconds=0) for r in again] == [replace(r, seconds=0) for r in rows]


def test_a_cell_has_the_settings_of_the_study_and_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cell before command before study before experiment."""
    seen: list[Params] = []
    monkeypatch.setattr("saliencymixplus.datasets.cache.prepared", lambda *_: tmp_path)
    monkeypatch.setattr(
        "saliencymixplus.study.cell.run_cell", lambda params, *_, **__: seen.append(params)
    )
    settings = {
        "data.clutter": {"object_size": 5, "scraps": 7},
        "training.weights_epochs": [1, 2],
        "training.precision": "bf16",
    }
    arguments = ["--object-size", "8", "--train-digits", "40", "--output", str(tmp_path / "out")]
    for value in (f"study.settings={json.dumps(settings)}", "clutter.training.precision=fp32"):
        arguments += ["--set", value]
    with pytest.raises(SystemExit, match="0"):
        app(["study-cell", *arguments, "--params", str(REPOSITORY / "params.yaml")])
    run = seen[0].run("clutter", "none", 0)
    assert run.data.clutter is not None
    assert (run.data.clutter.object_size, run.data.clutter.scraps) == (8, 7)
    assert run.training.weights_epochs == (1, 2)
    assert run.training.precision == "fp32"
    assert run.training.epochs == 700


def test_the_regression_by_hand() -> None:
    """Gains of exactly 20 points per unit of label error minus 30 per unit of background."""
    rows = []
    for size, base in ((8, 50.0), (12, 40.0)):
        rows.append(row("none", 30, None, 0, size))
        rows.append(row("cutmix-sample-box", base, 0.3, 0.2, size))
        for method, label, empty in (
            ("cutmix-mask", 0.1, 0.25),
            ("saliencymixplus", 0.15, 0.1),
            ("cutmix-object-mask", 0.05, 0.2),
        ):
            gain = 20 * (0.3 - label) - 30 * (0.2 - empty)
            rows.append(row(method, base - gain, label, empty, size))
    found = regression(by_cell(rows))
    assert found is not None
    assert found.label.value == pytest.approx(2.0)
    assert found.background.value == pytest.approx(-3.0)
    # Of label error alone: (0.2, 5.5), (0.15, 0) and (0.25, 5), each twice.
    assert found.slope.value == pytest.approx(5.0)
    assert found.r2 == pytest.approx(0.25**2 / (0.005 * 18.5))
    assert len(found.points) == 6


def test_cells_that_share_the_luck_of_their_seeds_add_no_evidence() -> None:
    """Four cells with the same errors give the interval of one."""
    rng = np.random.default_rng(0)
    rows = [
        replace(row(method, error, label, 0.1 * label), seed=seed)
        for method, label in (("cutmix-sample-box", 0.3), ("a", 0.1), ("b", 0.2), ("c", 0.25))
        for seed, error in enumerate(50 + 20 * label + rng.normal(0, 2, 5))
    ]
    widths = []
    for copies in (1, 4):
        cells = [replace(r, train_digits=digits) for r in rows for digits in range(copies)]
        found = regression(by_cell(cells))
        assert found is not None
        widths.append(found.slope.high - found.slope.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_the_report_pairs_recipes_by_seed(tmp_path: Path) -> None:
    errors = {"none": (30.0, 20.0, 28.0), "cutmix-sample-box": (28.0, 19.0, 23.0)}
    rows = [
        replace(row(method, error, None if method == "none" else 0.2, 0.1), seed=seed)
        for method, found in errors.items()
        for seed, error in enumerate(found)
    ]
    rows += [replace(r, train_digits=200) for r in rows] + [replace(r, image_size=32) for r in rows]
    text = write_report(rows, {}, tmp_path / "report")
    assert text.count("Objects of 8 pixels in") == 3
    # −2, −1 and −5: mean −8/3, s.d. √(13/3), Student's t for two degrees of freedom 4.3027.
    assert text.count("| −2.7 [−7.8, +2.5] | – |") == 3
    assert text.count("| – | +2.7 [−2.5, +7.8] |") == 3


def test_the_cell_with_the_most_recipes_is_drawn_in_detail() -> None:
    rows = [row("none", 30, None, 0), row("cutmix-mask", 25, 0.0, 0.2)]
    rows += [replace(r, train_digits=200, top1_error=r.top1_error + 20) for r in rows]
    rows += [
        replace(row("cutmix-sample-box", error, 0.125, 0.2), seed=seed)
        for seed, error in ((0, 28.0), (1, 99.0))  # no plain training with seed 1
    ]
    fig = effects(by_cell(rows))
    assert fig is not None
    (axes,) = fig.axes
    assert axes.get_title("left") == "Objects of 8 pixels in 16, 100 digits"
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "CutMix (mask)",
        "CutMix (sample box)",
    ]
    gaps = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert gaps == [-5.0, -2.0]
    assert [text.get_text() for text in axes.texts] == ["0.000", "0.125", "label error"]


def test_without_plain_training_no_cell_is_drawn_in_detail() -> None:
    assert effects(by_cell([row("cutmix-mask", 25, 0.0, 0.2)])) is None


def test_recipes_are_compared_over_the_seeds_of_both() -> None:
    rows = [
        replace(row("cutmix-sample-box", error, 0.3, 0.2), seed=seed)
        for seed, error in enumerate((50.0, 40.0, 99.0))
    ]
    for method, label, seeds in (("a", 0.2, (0,)), ("b", 0.1, (0, 1)), ("c", 0.0, (1,))):
        rows += [replace(row(method, 30.0, label, 0.1), seed=seed) for seed in seeds]
    rows.append(replace(row("d", 0.0, 0.0, 0.0), seed=7))  # nothing to compare it with
    found = regression(by_cell(rows))
    assert found is not None
    assert [(point[1], point[4]) for point in found.points] == [("a", 20), ("b", 15), ("c", 10)]


def test_without_three_points_there_is_no_regression() -> None:
    rows = [row("cutmix-sample-box", 50, 0.3, 0.2), row("cutmix-mask", 45, 0.0, 0.2)]
    assert regression(by_cell(rows)) is None


@pytest.mark.parametrize("damage", ["", "object_size\nx\n", "\x00"])
def test_damaged_cells_are_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cell"
    with pytest.raises(UserError, match=r"cell\.csv does not exist: run `study-cell` first"):
        read_cells([folder])
    folder.mkdir()
    (folder / "cell.csv").write_text(damage)
    with pytest.raises(UserError, match="cell"):
        read_cells([folder])


@pytest.mark.parametrize("error", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, error: str) -> None:
    write_rows(tmp_path / "cell.csv", [row("none", float(error), None, 0)], Row)
    with pytest.raises(UserError, match=r"cell\.csv is not a cell of the study"):
        read_cells([tmp_path])


def test_a_cell_without_trainings_is_not_left_out_in_silence(tmp_path: Path) -> None:
    for name, rows in (("full", [row("none", 30, None, 0)]), ("empty", [])):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "cell.csv", rows, Row)
    with pytest.raises(UserError, match=r"empty/cell\.csv has no training"):
        read_cells([tmp_path / "full", tmp_path / "empty"])


def test_the_loop_is_drawn_by_cell_with_every_recipe_in_the_legend() -> None:
    def epoch(method: str) -> Epoch:
        return Epoch(8, 100, method, 0, 1, 30.0, 0.2, 0.1, 0.3, 0.4, 0.1)

    fig = loop_figure(
        {
            StudyCell(100, 16, 8): [epoch("saliencymixplus")],
            StudyCell(100, 32, 8): [epoch("saliencymixplus"), epoch("puzzlemix")],
        }
    )
    titles = [axes.get_title("left") for axes in fig.axes[::4]]
    assert titles == ["8 pixels in 16, 100 digits", "8 pixels in 32, 100 digits"]
    assert [text.get_text() for text in fig.legends[0].texts] == ["SaliencyMix+", "PuzzleMix"]


def test_a_training_counts_once(tmp_path: Path) -> None:
    rows = [row("none", 30, None, 0)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "cell.csv", rows, Row)
    assert read_cells([tmp_path / "one"]) == rows
    with pytest.raises(UserError, match="same training"):
        read_cells([tmp_path / "one", tmp_path / "two"])
    write_rows(tmp_path / "two" / "cell.csv", [replace(rows[0], seed=1)], Row)
    assert len(read_cells([tmp_path / "one", tmp_path / "two"])) == 2


def test_without_recipes_beside_those_of_the_factors_no_gains_are_drawn() -> None:
    rows = [row("none", 30, None, 0), row("cutmix-mask", 25, 0.0, 0.2)]
    assert gains(by_cell(rows)) is None
    assert gains(by_cell([*rows, row("mixup", 25, 0.0, 0.2)])) is not None


def test_many_lines_of_cells_are_drawn_in_two_columns(tmp_path: Path) -> None:
    """Two object sizes at each of four amounts of data: four lines, and one over the amounts."""
    rows = [
        replace(row(method, error, label, 0.1, size), train_digits=digits)
        for digits in (100, 200, 300, 400)
        for size in (8, 12)
        for method, error, label in (("none", 30, None), ("cutmix-sample-box", 28, 0.1))
    ]
    fig = gains(by_cell(rows))
    assert fig is not None
    titles = [axes.get_title("left") for axes in fig.axes if axes.axison]
    assert titles == [
        *(f"{digits} training digits, 16 × 16" for digits in (100, 200, 300, 400)),
        "Objects of 8 pixels, 16 × 16",
    ]
    assert [axes.get_subplotspec().colspan.start for axes in fig.axes] == [0, 1] * 3
