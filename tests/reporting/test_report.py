"""The report: one page with everything in it, from whatever there is; cards chosen fairly."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.reporting.cards import best_run, model_card
from saliencymixplus.reporting.curves import attack_figure, learning_figure, reliability_figure
from saliencymixplus.reporting.page import html_page
from saliencymixplus.reporting.report import report
from saliencymixplus.reporting.run_data import collect, over_seeds

EVIL = "<script>alert(1)</script> | **cat**"


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_run(root, mix, seed, *, validation=4.0, evaluated=True, classes=("cat", "dog")):
    """A run and its evaluation as `train` and `evaluate` write them, in small."""
    folder = root / "runs" / "toy" / mix / f"seed{seed}"
    (folder / "samples").mkdir(parents=True)
    training = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "steps",
        "milestones": [75, 150],
        "gamma": 0.1,
        "warmup_epochs": 0.0,
        "mix_prob": 0.5,
        "augment": "flip",
        "crop_size": None,
    }
    settings = {
        "experiment": "toy",
        "mix": {"name": mix, "method": mix, "options": {}},
        "seed": seed,
        "model": {"name": "resnet8", "stem": "auto"},
        "training": training,
    }
    data = {
        "name": "toy",
        "digest": "d" * 64,
        "classes": list(classes),
        "image_size": [8, 8],
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "counts": {"train": 30, "test": 100},
    }
    described = {"settings": settings, "digest": f"{seed}" * 16, "data": data, "device": "cpu"}
    (folder / "settings.json").write_text(json.dumps(described))
    last = {"epoch": 3, "top1_error": 10.0 + seed, "top5_error": 1.0}
    summary = {"last": last, "seconds": 2.5, "parameters": 75290}
    if validation is not None:
        summary["best_validation"] = last | {"validation_top1_error": validation}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = [
        {
            "epoch": e,
            "learning_rate": 0.1,
            "train_loss": 1 / e,
            "test_top1_error": 30 / e + seed,
            "validation_top1_error": "",
            "seconds": 1,
            "images_per_second": 30,
            "forward_backward_passes": 1,
        }
        for e in (1, 2, 3)
    ]
    write_csv(folder / "history.csv", rows)
    Image.new("RGB", (20, 10), "red").save(folder / "samples" / "epoch_0003.png")
    if evaluated:
        out = root / "evaluations" / "toy" / mix / f"seed{seed}"
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps({"top1_error": 10.0 + seed, "ece": 2.0}))
        attacks = [
            {"attack": a, "epsilon_255": e, "top1_error": 10 * e + seed}
            for a in ("fgsm", "pgd")
            for e in (1, 4)
        ]
        write_csv(out / "attacks.csv", attacks)
        bins = [
            {"scaling": "none", "bin_low": 0.8, "images": 40 - 20 * seed, "confidence": 0.85},
            {"scaling": "none", "bin_low": 0.9, "images": 2, "confidence": 0.95},
        ]
        write_csv(out / "reliability.csv", [row | {"accuracy": 0.5 + 0.3 * seed} for row in bins])
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [
        write_run(tmp_path, mix, seed).relative_to(tmp_path)
        for mix in ("cutmix", "none")
        for seed in (0, 1)
    ]


def test_the_page_is_self_contained(runs, tmp_path):
    page = report(runs, tmp_path / "reports").read_text()
    assert not re.search(r"(?:https?:|file:|src=\"(?!data:)|<script|<link|@import|url\()", page)
    sources = re.findall(r'src="([^"]{30})', page)
    assert len(sources) >= 5
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)
    for word in ("Learning curves", "Robustness", "Calibration", "Mixed samples", "CutMix"):
        assert word in page


def test_markdown_names_pictures_that_are_there(runs, tmp_path):
    report(runs, tmp_path / "reports")
    text = (tmp_path / "reports" / "report.md").read_text()
    pictures = re.findall(r"!\[[^]]*]\(<([^)]+)>\)", text)
    assert {"figures/learning.png", "figures/samples_cutmix.png"} <= set(pictures)
    assert all((tmp_path / "reports" / picture).is_file() for picture in pictures)
    assert str(tmp_path) not in text


def test_what_is_missing_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_run(tmp_path, "none", 0, evaluated=False)
    for name in ("history.csv", "summary.json", "samples/epoch_0003.png"):
        (folder / name).unlink()
    absent = folder.parent / "seed7"
    text = report([folder, absent], tmp_path / "reports").with_suffix(".md").read_text()
    for sentence in (
        "have not been compared",
        "No run has a history",
        "have not been audited",
        "no grids of mixed samples",
        "none/seed7",
        "measured no localisation",
    ):
        assert sentence in text
    with pytest.raises(UserError, match="none of the runs"):
        report([absent], tmp_path / "reports")


def test_comparison_and_audit_are_taken_up(runs, tmp_path):
    output, audit = tmp_path / "reports", tmp_path / "audits"
    output.mkdir()
    audit.mkdir()
    (output / "comparison.md").write_text(
        "# Comparison\n\n## toy\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    Image.new("RGB", (20, 10), "blue").save(output / "comparison.png")
    (audit / "audit.md").write_text(
        "# Audit\n\nCutMix's labels are off by 0.1.\n\n## Labels\n\nmore\n"
    )
    Image.new("RGB", (20, 10), "blue").save(audit / "worst_cutmix.png")
    text = report(runs, output, audit=audit).with_suffix(".md").read_text()
    assert "### toy" in text
    assert "figures/audit_worst_cutmix.png" in text
    assert text.count("off by 0.1") == 2  # in short, and in its section
    assert text.index("### Labels") < text.index("### Worst labels")


def test_an_audit_that_was_skipped_is_a_sentence(runs, tmp_path):
    audit = tmp_path / "audits"
    audit.mkdir()
    (audit / "audit.md").write_text("# Label-noise audit\n\nSkipped: no masks.\n")
    (audit / "audit.json").write_text(json.dumps({"mixes": {}, "skipped": "no masks"}))
    text = report(runs, tmp_path / "reports", audit=audit).with_suffix(".md").read_text()
    assert "The labels were not audited: no masks." in text
    assert "Labels:" not in text


@pytest.mark.parametrize(
    ("p_value", "seeds_p_value", "chance"),
    [(0.001, 0.3, True), (0.3, 0.001, True), (0.001, 0.01, False), (0.001, None, False)],
)
def test_the_best_is_called_better_only_where_neither_test_says_chance(
    runs, tmp_path, p_value, seeds_p_value, chance
):
    output = tmp_path / "reports"
    gap = {"difference": -1.0, "low": -2.0, "high": -0.1}
    gap |= {"p_value": p_value, "seeds_p_value": seeds_p_value}
    rows = [
        {"name": name, "errors": {"last": {"top1_error": {"mean": mean}, "difference": found}}}
        for name, mean, found in (("none", 9.0, None), ("cutmix", 8.0, gap))
    ]
    output.mkdir()
    (output / "comparison.json").write_text(
        json.dumps({"tables": [{"title": "toy", "baseline": "none", "rows": rows}]})
    )
    text = report(runs, output).with_suffix(".md").read_text()
    assert "lowest top-1 error at the last epoch: CutMix, 8.00 %" in text
    assert ("may be chance" in text) == chance


def test_names_cannot_break_out_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_run(tmp_path, "cutmix", 0, classes=(EVIL, "dog"))
    described = json.loads((folder / "settings.json").read_text())
    described["data"]["name"] = EVIL
    (folder / "settings.json").write_text(json.dumps(described))
    assert "<script" not in report([folder], tmp_path / "reports").read_text()


def test_a_picture_outside_the_report_stays_text(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "secret.png")
    report_folder = tmp_path / "report"
    report_folder.mkdir()
    for address in ("../secret.png", tmp_path / "secret.png", "%2e%2e/secret.png"):
        page = html_page(f"![a name]({address})", report_folder, "title")
        assert "data:image" not in page
        assert "a name" in page


def test_a_picture_may_have_any_letters_in_its_name(tmp_path):
    for name in ("étoile 1.png", "plain.png"):
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)
        assert "data:image/png" in html_page(f"![a](<{name}>)", tmp_path, "title")


def test_the_page_allows_neither_scripts_nor_the_network(tmp_path):
    page = html_page("# A title", tmp_path, "title")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_page_refuses_a_missing_picture(tmp_path):
    with pytest.raises(UserError, match=r"no\.png"):
        html_page("![x](no.png)", tmp_path, "title")


def test_headings_are_linked_once_each(tmp_path):
    page = html_page("# A\n\n## One\n\n## One\n\n### Deeper\n", tmp_path, "<A>")
    assert re.findall(r'href="#([^"]+)"', page) == ["one", "one-2"]
    assert re.findall(r'<h2 id="([^"]+)"', page) == ["one", "one-2"]
    assert "<title>&lt;A&gt;</title>" in page


def test_means_over_seeds(runs):
    found = collect(runs)
    assert list(found) == ["none", "cutmix"]  # in the registry's order
    spreads = over_seeds(found["cutmix"], "attacks", ["attack", "epsilon_255"], "top1_error")
    assert spreads[("fgsm", "4")] == pytest.approx((40.5, np.std([40, 41], ddof=1)))


def test_curves_show_the_means(runs):
    found = collect(runs)
    error = learning_figure(found).axes[0].lines[0]
    assert error.get_xdata().tolist() == [1, 2, 3]
    assert error.get_ydata().tolist() == [30.5, 15.5, 10.5]
    left, right = attack_figure(found).axes
    assert (left.get_title("left"), right.get_title("left")) == ("FGSM", "PGD")
    assert left.lines[0].get_ydata().tolist() == [10.5, 40.5]


def test_reliability_pools_images_and_leaves_out_small_bins(runs):
    (panel,) = reliability_figure(collect(runs)).axes
    points = panel.lines[1]  # after the diagonal
    assert points.get_xdata() == pytest.approx([0.85])
    assert points.get_ydata() == pytest.approx([(40 * 0.5 + 20 * 0.8) / 60])


def test_the_card_is_of_the_run_that_validation_chose(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [
        write_run(tmp_path, "cutmix", seed, validation=error)
        for seed, error in ((0, 5.0), (1, 3.0), (2, 4.0))
    ]
    seeds = collect(folders)["cutmix"]
    assert best_run(seeds).seed == 1
    card = model_card(best_run(seeds), seeds)
    assert "Seed 1, of 3 seeds the one with the lowest validation error" in card
    assert "[6.25, 18.63]" in card  # Wilson, 11 of 100 (Newcombe 1998's formula by hand)
    assert "12.00" not in card
    assert "11.00 ± 1.00 %" in card
    assert 'load_run(Path("runs/toy/cutmix/seed1"))' in card


def test_without_validation_the_card_is_not_chosen_by_test_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [write_run(tmp_path, "cutmix", seed, validation=None) for seed in (1, 0)]
    assert best_run(collect(folders)["cutmix"]).seed == 0
