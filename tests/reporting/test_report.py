"""The report: one complete page, whatever results exist."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.audit.audit import audit
from saliencymixplus.comparison.compare import compare
from saliencymixplus.errors import UserError
from saliencymixplus.outputs import check_files, check_folder
from saliencymixplus.reporting import charts, curves, sections
from saliencymixplus.reporting.classes import confusion
from saliencymixplus.reporting.provenance import augmentation
from saliencymixplus.reporting.report import FOLDERS, OUTPUT, report
from saliencymixplus.reporting.run_data import collect_runs, over_seeds
from saliencymixplus.settings import MixSettings, TrainingSettings
from saliencymixplus.settings.evaluation import AuditSettings
from tests.helpers import REPOSITORY, write_rectangles
from tests.reporting.conftest import write_reported, write_runs

EVIL = "<script>alert(1)</script> | **cat** [x](y) ${z}"


def text_of(page: Path) -> str:
    return page.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of two seeds each of two methods, for tests that only read it."""
    root = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return report(write_runs(root), root / "reports")


def test_the_page_is_self_contained(page):
    page = page.read_text()
    shown = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?:|file:|src=\"(?!data:)|<link|@import|url\(", shown)
    sources = re.findall(r'src="data:image/([a-z+]+);base64,', page)
    assert sources.count("png") >= 4
    assert "svg+xml" in sources
    for word in ("Learning curves", "Robustness", "Calibration", "Mixed samples", "CutMix"):
        assert word in page


def test_markdown_names_pictures_that_are_there(page):
    text, folder = text_of(page), page.parent
    check_files(folder, OUTPUT)  # all may be written again
    for name, content in FOLDERS.items():
        assert list((folder / name).iterdir())
        check_folder(folder / name, content)
    pictures = re.findall(r"!\[[^]]*]\(<([^)]+)>\)", text)
    assert {"figures/learning.png", "figures/samples_cutmix.png"} <= set(pictures)
    assert all((folder / picture).is_file() for picture in pictures)
    assert (folder / "figures/learning.svg").read_text().startswith("<?xml")
    assert str(folder.parent) not in text


def test_what_was_run_is_said(runs, tmp_path):
    card = {"tracker": "mlflow", "attempt": "abc", "store": "", "experiment": "x", "run_name": "y"}
    for run, days in zip(runs, (0, 2, 1, 2), strict=True):
        created = (20000 + days) * 86_400_000
        (run / "tracking.json").write_text(json.dumps(card | {"created": created}))
    text = text_of(report(runs, tmp_path / "reports"))
    for line in (
        "| Methods | No mixing, CutMix |",
        "| Seeds | 0, 1 |",
        "| Epochs | 3 |",
        "| Batch size | 16 |",
        "| Mix probability | 0.5 |",
        "| Hardware | cpu |",
        "| Date | 2024-10-04 to 2024-10-06 |",
    ):
        assert line in text
    assert "[seed 1](<../runs/tiny/cutmix/seed1>)" in text
    assert (tmp_path / "reports" / "../runs/tiny/cutmix/seed1").is_dir()


def test_what_is_missing_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_reported(tmp_path, "none", 0, evaluated=False)
    (folder / "samples/epoch_0003.png").unlink()
    absent = folder.parent / "seed7"
    text = text_of(report([folder, absent], tmp_path / "reports"))
    for sentence in (
        "have not been compared",
        "have not been evaluated",
        "have not been audited",
        "no grids of mixed samples",
        "none/seed7",
        "Localisation was not measured",
        "No evaluation has measured calibration",
    ):
        assert sentence in text
    with pytest.raises(UserError, match=r"none/seed7 do not exist yet: `dvc repro`"):
        report([absent], tmp_path / "reports")


def test_the_comparison_is_taken_up(runs, tmp_path):
    compare(runs, tmp_path / "reports")
    text = text_of(report(runs, tmp_path / "reports"))
    assert "No significant difference between No mixing and CutMix" in text
    assert text.index("No significant difference") < text.index("## What was run")
    assert "figures/pareto.png" in text
    assert "| CutMix | 10.50 ± 0.71 | [4.15, 16.85] |" in text
    assert "Top-5" not in text


def write_bench(folder, **settings):
    tiny = {"model": "resnet8", "batch_size": 16, "prepared_size": 8}
    steps = [{"method": "none", "mean_ms": 2.0}, {"method": "cutmix", "mean_ms": 2.25}]
    folder.mkdir(exist_ok=True)
    content = {"settings": tiny | settings, "hardware": "an abacus", "steps": steps}
    (folder / "bench.json").write_text(json.dumps(content))


@pytest.mark.slow
def test_step_times_of_a_benchmark_get_a_panel(runs, tmp_path, monkeypatch):
    reports, drawn = tmp_path / "reports", []
    original = sections.pareto
    monkeypatch.setattr(
        sections, "pareto", lambda *given: drawn.append(original(*given)) or drawn[-1]
    )
    compare(runs, reports)
    report(runs, reports)
    write_bench(reports)
    text = text_of(report(runs, reports))
    assert "benchmarked on an abacus" in text
    assert [len(figure.axes) for figure in drawn] == [1, 2]
    places = {
        container.get_label().partition(" (")[0]: container.lines[0].get_xdata()[0]
        for container in drawn[1].axes[1].containers
    }
    assert places == {"No mixing": 2.0, "CutMix": 2.25}
    write_bench(reports, model="resnet50")
    assert "bench.json was measured with another network" in text_of(report(runs, reports))
    assert len(drawn[2].axes) == 1
    (reports / "bench.json").write_text('{"steps": 3}')
    with pytest.raises(UserError, match=r"bench\.json is damaged .* `bench --output`"):
        report(runs, reports)


def test_the_audit_is_taken_up(runs, tmp_path):
    prepared = write_rectangles(tmp_path / "rectangles")
    mixes = [MixSettings(name=name, method=name) for name in ("cutmix", "mixup")]
    settings = AuditSettings(images=40, batch_size=8, resamples=50, worst=2)
    audit(prepared, mixes, {}, settings, tmp_path / "audits")
    text = text_of(report(runs, tmp_path / "reports", audit=tmp_path / "audits"))
    audited = (tmp_path / "audits/audit.md").read_text()
    verdict = next(line for line in audited.splitlines() if "off by" in line)
    assert text.count(verdict) == 2  # in short, and in its section
    for line in audited.splitlines():
        if line.startswith("|"):
            assert line in text
    assert "figures/audit_worst_cutmix.png" in text
    assert text.index("### Labels against") < text.index("### Worst labels")


def test_an_audit_that_was_skipped_is_a_sentence(runs, tmp_path):
    folder = tmp_path / "audits"
    folder.mkdir()
    (folder / "audit.json").write_text(json.dumps({"mixes": {}, "skipped": "no masks"}))
    text = text_of(report(runs, tmp_path / "reports", audit=folder))
    assert "The labels were not audited: no masks." in text
    assert "Labels:" not in text


def test_names_cannot_break_out_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_reported(tmp_path, "cutmix", 0, name=EVIL, classes=2)
    described = json.loads((folder / "settings.json").read_text())
    described["data"]["classes"][0] = EVIL
    (folder / "settings.json").write_text(json.dumps(described))
    page = report([folder], tmp_path / "reports")
    assert "<script>alert" not in page.read_text()
    assert "<script>" not in text_of(page)
    assert "<script>" not in (tmp_path / "reports/model_cards/cutmix.md").read_text()
    assert "&lt;script&gt;alert(1)" in page.read_text()


def test_top_5_errors_are_shown_for_more_than_ten_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_reported(tmp_path, "cutmix", 0, classes=11)
    report([folder], tmp_path / "reports")
    assert "Top-5 error" in (tmp_path / "reports/model_cards/cutmix.md").read_text()


def test_means_over_seeds(runs):
    found = collect_runs(runs)
    assert list(found) == ["none", "cutmix"]  # in the registry's order
    spreads = over_seeds(found["cutmix"], "attacks", ["attack", "epsilon_255"], "top1_error")
    assert spreads[("fgsm", "4")] == pytest.approx((40.5, np.std([40, 41], ddof=1)))


def test_charts_show_the_means(runs):
    found = collect_runs(runs)
    figure = charts.draw(curves.learning(found))
    error = figure.axes[0].lines[0]
    assert error.get_xdata().tolist() == [1, 2, 3]
    assert error.get_ydata().tolist() == [30.5, 15.5, 10.5]
    left, right = charts.draw(curves.attacks(found)).axes
    assert (left.get_title("left"), right.get_title("left")) == ("FGSM", "PGD")
    assert left.lines[0].get_ydata().tolist() == [10.5, 40.5]
    assert left.get_ylim() == right.get_ylim()
    assert all(axes.get_ylim()[0] == 0 for axes in (*figure.axes, left, right))


def test_the_page_draws_the_same_points(runs):
    found = charts.to_json(curves.learning(collect_runs(runs)))
    assert json.loads(json.dumps(found)) == found
    line = found["panels"][0]["lines"][1]
    assert line["method"] == "cutmix"
    assert line["points"] == [
        [e, 30 / e + 0.5, pytest.approx(0.5**0.5, abs=1e-6)] for e in (1, 2, 3)
    ]
    assert found["styles"]["none"] == {"label": "No mixing", "colour": "#555555", "marker": "o"}


def test_reliability_pools_images_and_leaves_out_small_bins(runs):
    (panel,) = curves.reliability(collect_runs(runs))
    ((confidence, (accuracy, error)),) = panel.lines["cutmix"]
    right = (40 * 0.5 + 20 * 0.8) / 60
    assert (confidence, accuracy) == pytest.approx((0.85, right))
    assert error == pytest.approx((right * (1 - right) / 60) ** 0.5)


def test_confusions_are_summed_over_seeds(runs, page):
    counts = confusion(collect_runs(runs)["cutmix"])
    assert counts == {("class 0", "class 0"): 16, ("class 0", "class 1"): 5}
    text = text_of(page)
    assert "| class 0 | class 1 | 5 | 5 |" in text
    assert "| class 9 | 45.00 ± 0.00 | 45.00 ± 0.00 |" in text


def test_samples_are_copied(page):
    with Image.open(page.parent / "figures/samples_cutmix.png") as picture:
        assert picture.size == (20, 10)


def test_dvc_gets_curves_in_the_methods_colours(page):
    lines = (page.parent / "learning_curves.csv").read_text().splitlines()
    assert lines[0] == "method,colour,epoch,test_top1_error"
    assert lines[1] == "No mixing,#555555,1,30.5"
    assert lines[-1] == "CutMix,#0072B2,3,10.5"
    pictures = {path.name for path in (page.parent / "pictures").iterdir()}
    assert pictures == {"learning.png", "confusion.png", "samples_cutmix.png"}
    template = (REPOSITORY / ".dvc/plots/methods.json").read_text()
    fields = set(re.findall(r'"field": "([a-z]+)"', template))
    assert fields - {"rev"} <= set(lines[0].split(","))
    counts = (page.parent / "confusion.csv").read_text().splitlines()
    assert counts[1] == "No mixing,class 0,class 0,16"


def test_only_pictures_of_a_run_enter_the_page(runs, tmp_path):
    grid = runs[0] / "samples/epoch_0003.png"
    secret = tmp_path / "secret.txt"
    secret.write_text("a key")
    grid.unlink()
    grid.symlink_to(secret)
    with pytest.raises(UserError, match=r"epoch_0003\.png is not a PNG picture"):
        report(runs, tmp_path / "reports")
    grid.unlink()
    Image.new("1", (30_000, 30_000)).save(grid)  # 900 million pixels in few bytes
    with pytest.raises(UserError, match=r"epoch_0003\.png is not a PNG picture"):
        report(runs, tmp_path / "reports")
    assert not (tmp_path / "reports/report.html").exists()


def test_the_augmentation_is_described_in_full():
    recipe = {
        "augment": "crop-flip",
        "crop_mode": "reflect",
        "auto_augment": "randaugment",
        "random_erasing": 0.25,
        "repeated_augmentation": 3,
    }
    assert augmentation(TrainingSettings()) == "flip"
    assert augmentation(TrainingSettings(**recipe)) == (
        "crop-flip with reflected padding, randaugment (2 operations, magnitude 9), "
        "random erasing 0.25 (pixel), each image 3 times per epoch"
    )
