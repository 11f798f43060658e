"""The whole audit on rectangles: its output, shared batches, and refusals."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from saliencymixplus.audit import audit as module
from saliencymixplus.audit.audit import OUTPUT, audit
from saliencymixplus.audit.findings import load_findings
from saliencymixplus.audit.measure import mix_and_record
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.mixing import create
from saliencymixplus.outputs import check_folder
from saliencymixplus.settings import MixSettings
from tests.audit.recipes import SETTINGS, recipes, run_of
from tests.helpers import write_rectangles


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
    check_folder(output, OUTPUT)  # it may be written again
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
    full = OSError(28, "full")
    monkeypatch.setattr(module, "write_records", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(UserError, match="full"):
        audit(rectangles, recipes("cutmix"), {}, SETTINGS, tmp_path / "audit")
    assert (tmp_path / "audit" / "audit.json").read_bytes() == before
