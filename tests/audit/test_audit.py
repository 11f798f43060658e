"""The whole audit on rectangles: what it writes, that recipes share batches, how it refuses."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saliencymixplus.audit import audit as module
from saliencymixplus.audit.audit import audit
from saliencymixplus.audit.figures import epochs_figure, errors_figure
from saliencymixplus.audit.findings import load_findings
from saliencymixplus.audit.measure import batches, mix_and_record, record
from saliencymixplus.audit.text import audit_markdown, estimates_table
from saliencymixplus.bootstrap import Estimate
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.mixing import create
from saliencymixplus.pictures.style import method_styles
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings
from tests.helpers import write_rectangles

SETTINGS = AuditSettings(images=40, batch_size=8, resamples=50, worst=2, epoch_images=8)


def recipes(*names):
    return [MixSettings(name=name, method=name) for name in names]


def run_of(classes, weights=("last",), crop_size=None):
    """A run whose network looks at the mean colour."""

    def model(which="last"):
        torch.manual_seed(weights.index(which))
        return nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(27, 3)).eval()

    return SimpleNamespace(
        settings=SimpleNamespace(
            training=SimpleNamespace(crop_size=crop_size),
            mix=SimpleNamespace(name="saliencymixplus"),
        ),
        data=SimpleNamespace(classes=classes),
        digest="0" * 16,
        weights=list(weights),
        model=model,
    )


@pytest.fixture
def trained(monkeypatch):
    run = run_of(["one", "two", "three"], ("last", "epoch_0001", "epoch_0005"))
    monkeypatch.setattr("saliencymixplus.runs.read.load_run", lambda path: run)
    return run


def test_everything_is_written(rectangles, tmp_path, trained):
    output = tmp_path / "audit"
    mixes = recipes("none", "cutmix", "mixup", "saliencymixplus")
    result = audit(rectangles, mixes, {"saliencymixplus": [tmp_path]}, SETTINGS, output)
    assert json.loads((output / "audit.json").read_text()) == result
    assert set(result["mixes"]) == {"cutmix", "mixup", "saliencymixplus"}
    assert result["mixes"]["cutmix"]["samples"] == 40
    assert list(result["along_training"]["saliencymixplus"]) == ["epoch_0001", "epoch_0005"]
    cutmix = result["mixes"]["cutmix"]
    low, high = (cutmix[f"mean_absolute_error_{end}"] for end in ("low", "high"))
    assert low < cutmix["mean_absolute_error"] < high
    assert result["mixes"]["mixup"]["mean_absolute_error"] < 1e-6
    gap = result["differences"]["saliencymixplus-cutmix"]["mean_absolute_error"]
    both = (result["mixes"][name]["mean_absolute_error"] for name in ("saliencymixplus", "cutmix"))
    assert gap == pytest.approx(next(both) - next(both))
    for name in ("scatter", "errors", "along_training", "worst_cutmix", "worst_saliencymixplus"):
        assert Image.open(output / f"{name}.png").size[0] > 300
    assert not (output / "worst_mixup.png").exists()  # no label is wrong
    text = (output / "audit.md").read_text()
    assert "SaliencyMix+" in text
    assert "about 1.7 times" in text  # 40 mixes of 24 images
    assert "nan" not in text


def test_the_table_of_samples_gives_the_metrics_again(rectangles, tmp_path):
    result = audit(rectangles, recipes("cutmix"), {}, SETTINGS, tmp_path / "audit")
    with (tmp_path / "audit" / "audit.csv").open() as file:
        rows = list(csv.DictReader(file))
    errors = [float(row["lam"]) - float(row["true_lam"]) for row in rows]
    assert np.nanmean(np.abs(errors)) == pytest.approx(
        result["mixes"]["cutmix"]["mean_absolute_error"], abs=1e-4
    )
    assert rows[0]["file_a"] == f"train/{int(rows[0]['image_a']):03d}.png"


def test_the_same_audit_twice_is_the_same(rectangles, tmp_path):
    mixes = recipes("cutmix", "saliencymix")
    first = audit(rectangles, mixes, {}, SETTINGS, tmp_path / "first")
    assert audit(rectangles, mixes, {}, SETTINGS, tmp_path / "second") == first


def test_recipes_mix_the_same_batches(rectangles):
    data = load_prepared(rectangles)
    split = data.split("train")
    found = [
        mix_and_record(
            split, split.annotated(), data.meta, create(name), [], images=40, batch_size=8, seed=0
        )
        for name in ("cutmix", "saliencymix")
    ]
    assert np.array_equal(found[0].image_a, found[1].image_a)
    assert np.array_equal(found[0].batch, found[1].batch)
    assert (found[0].image_a != found[0].image_b).all()


def test_members_of_a_switch_are_drawn_as_often_as_in_a_training(rectangles):
    data = load_prepared(rectangles)
    split = data.split("train")
    switch = create("switch", members={"cutmix": 0.4, "mixup": 0.4, "none": 0.2})
    found = mix_and_record(
        split, split.annotated(), data.meta, switch, [], images=160, batch_size=8, seed=0
    )
    mixed, generator = [], torch.Generator().manual_seed(0)
    for number, size in enumerate([8] * 20):
        member = switch.members[switch.draw(size, 12, 12, generator=generator).member]
        if member.method != "none":
            mixed.append(number)
    assert np.unique(found.batch).tolist() == mixed
    assert 0 < len(mixed) < 20
    assert len(found.lam) == 8 * len(mixed)


def test_a_recipe_without_a_run_takes_the_networks_of_the_others(rectangles, tmp_path, trained):
    own, other = (
        recipes("saliencymixplus")[0],
        MixSettings(name="plus-area-label", method="saliencymixplus", options={"label": "area"}),
    )
    output = tmp_path / "audit"
    audit(rectangles, [own, other], {"saliencymixplus": [tmp_path]}, SETTINGS, output)
    with (output / "audit.csv").open() as file:
        rows = list(csv.DictReader(file))
    mine, borrowed = ([row for row in rows if row["mix"] == mix.name] for mix in (own, other))
    for column in ("area_lam", "true_lam", "file_a", "file_b"):  # the same boxes: one network
        assert [row[column] for row in mine] == [row[column] for row in borrowed]
    assert [row["lam"] for row in borrowed] == [row["area_lam"] for row in borrowed]
    assert (
        "Networks trained with another recipe: plus-area-label: SaliencyMix+."
        in (output / "audit.md").read_text()
    )
    with pytest.raises(UserError, match="train one first"):
        audit(rectangles, [other], {"plus-area-label": []}, SETTINGS, tmp_path / "none")


def test_averaged_lam_is_what_reaches_the_gradient(rectangles, tmp_path, trained):
    options = {"variant": "published"}
    mixes = [MixSettings(name="published", method="saliencymixplus", options=options)]
    result = audit(rectangles, mixes, {"published": [tmp_path]}, SETTINGS, tmp_path / "audit")
    found = result["mixes"]["published"]
    assert found["effective_mean_absolute_error"] != found["mean_absolute_error"]


def test_images_are_resized_to_what_the_network_takes(rectangles, tmp_path, monkeypatch):
    run = run_of(["one", "two", "three"], crop_size=9)
    monkeypatch.setattr("saliencymixplus.runs.read.load_run", lambda path: run)
    mixes = recipes("cutmix", "saliencymixplus")
    audit(rectangles, mixes, {"saliencymixplus": [tmp_path]}, SETTINGS, tmp_path / "audit")
    assert json.loads((tmp_path / "audit" / "details.json").read_text())["input_size"] == 9


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


@pytest.mark.parametrize(
    ("count", "images", "size"), [(24, 60, 8), (3, 3, 2), (2, 9, 16), (9, 1, 2)]
)
def test_batches_hold_no_image_twice_and_never_one(count, images, size):
    found = list(batches(np.arange(count) * 5, images, size, 0))
    assert all(len(batch) == len(set(batch)) >= 2 for batch in found)
    assert abs(sum(map(len, found)) - max(images, 2)) <= 1
    if images >= count:
        assert {i for batch in found for i in batch} == {*(np.arange(count) * 5).tolist()}


def test_where_the_maps_lie_is_measured_by_hand():
    """An object of 2 of 8 known pixels: 6/10 of the first map on it, all of the second."""
    masks = torch.zeros(2, 3, 3, dtype=torch.uint8)
    masks[:, 0, :2], masks[:, 2, 2] = 1, 2
    maps = torch.zeros(2, 3, 3)
    maps[:, 0, :2], maps[:, 2, 2] = 3.0, 99.0  # what lies on unknown pixels does not count
    maps[0, 1, 1] = 4.0  # the first map's peak
    batch = SimpleNamespace(masks=masks, labels=torch.tensor([0, 1]))
    images = torch.zeros(2, 3, 3, 3)
    for mixer, expected in (
        (create("saliencymixplus"), [(0.6, 0.0), (1.0, 1.0)]),
        (create("cutmix"), [(np.nan, np.nan)] * 2),
    ):
        mixed = mixer(
            images,
            batch.labels,
            generator=torch.Generator().manual_seed(0),
            saliency=maps if mixer.needs_model else None,
        )
        found = record(mixed, batch, np.arange(2))
        assert found.object_area == pytest.approx([2 / 8] * 2)
        assert [*zip(found.map_on_object, found.peak_on_object, strict=True)] == [
            pytest.approx(pair, nan_ok=True) for pair in expected
        ]


def test_only_annotated_images_are_mixed(rectangles):
    masks = np.load(rectangles / "train_masks.npy")
    masks[5:] = 2
    np.save(rectangles / "train_masks.npy", masks)
    assert load_prepared(rectangles).split("train").annotated().tolist() == [0, 1, 2, 3, 4]


def test_nothing_to_audit_is_an_empty_result_with_its_reason(rectangles, tmp_path):
    bare = write_rectangles(tmp_path / "bare", masks=False)
    masks = np.load(rectangles / "train_masks.npy")
    few = write_rectangles(tmp_path / "few")
    masks[1:] = 2
    np.save(few / "train_masks.npy", masks)
    for prepared, mix, reason in (
        (bare, "cutmix", "the data have no object masks"),
        (rectangles, "none", "none of the recipes mixes images"),
        (few, "cutmix", "1 images of the train split"),
    ):
        output = tmp_path / f"{prepared.name}_audit"
        result = audit(prepared, recipes(mix), {}, SETTINGS, output)
        assert result == json.loads((output / "audit.json").read_text())
        assert result["mixes"] == result["differences"] == result["along_training"] == {}
        assert reason in result["skipped"]
        assert reason in (output / "audit.md").read_text()
        assert load_findings(output) == result["skipped"]


def test_refusals_say_what_to_do(rectangles, tmp_path, monkeypatch):
    output = tmp_path / "audit"
    with pytest.raises(UserError, match="trained network"):
        audit(rectangles, recipes("saliencymixplus"), {}, SETTINGS, output)
    monkeypatch.setattr("saliencymixplus.runs.read.load_run", lambda path: run_of(["cat"]))
    with pytest.raises(UserError, match="classes other than"):
        audit(
            rectangles,
            recipes("saliencymixplus"),
            {"saliencymixplus": [tmp_path]},
            SETTINGS,
            output,
        )
    assert not output.exists()


def test_a_failed_audit_leaves_the_old_one(rectangles, tmp_path, monkeypatch):
    audit(rectangles, recipes("cutmix"), {}, SETTINGS, tmp_path / "audit")
    before = (tmp_path / "audit" / "audit.json").read_bytes()
    monkeypatch.setattr(module, "write_csv", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(UserError, match="full"):
        audit(rectangles, recipes("cutmix"), {}, SETTINGS, tmp_path / "audit")
    assert (tmp_path / "audit" / "audit.json").read_bytes() == before


def test_findings_are_read_as_they_were_written(rectangles, tmp_path, trained):
    output = tmp_path / "audit"
    mixes = recipes("mixup", "cutmix", "saliencymixplus")
    audit(rectangles, mixes, {"saliencymixplus": [tmp_path]}, SETTINGS, output)
    assert audit_markdown(load_findings(output)) == (output / "audit.md").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("audit.json", "[]"),
        ("audit.json", '{"mixes": {}, "differences": {}, "along_training": {}}'),
        ("audit.json", '{"mixes": {"x": {}}, "differences": {}, "along_training": {}}'),
        ("audit.json", '{"mixes": {"cutmix": {"bias": [1]}}}'),
        ("audit.json", '{"mixes": 5}'),
        ("audit.json", "{"),
        ("details.json", "{}"),
        ("details.json", '{"data": {"name": 3}}'),
    ],
)
def test_a_damaged_audit_is_one_line(rectangles, tmp_path, name, content):
    output = tmp_path / "audit"
    audit(rectangles, recipes("cutmix"), {}, SETTINGS, output)
    (output / name).write_text(content)
    with pytest.raises(UserError) as error:
        load_findings(output)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
