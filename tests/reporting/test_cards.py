"""Model cards: the choice of the run, confidence intervals, and a snippet that runs."""

import json
import re
import subprocess
import sys

import pytest

from saliencymixplus.reporting import recipe_text
from saliencymixplus.reporting.cards import best_run, model_card
from saliencymixplus.reporting.run_data import collect_runs
from saliencymixplus.settings import TrainingSettings
from tests.helpers import SIZE
from tests.reporting.conftest import give_weights, write_reported


def test_the_card_is_of_the_run_that_validation_chose(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [
        write_reported(tmp_path, "cutmix", seed, validation=error)
        for seed, error in ((0, 5.0), (1, 3.0), (2, 4.0))
    ]
    seeds = collect_runs(folders)["cutmix"]
    assert best_run(seeds).seed == 1
    card = model_card(best_run(seeds), seeds)
    assert "Seed 1, of 3 seeds the one with the lowest validation error" in card
    assert "[6.25, 18.63]" in card  # Wilson, 11 of 100 (Newcombe 1998's formula by hand)
    assert "12.00" not in card
    assert "11.00 ± 1.00 %" in card
    assert "Top-5" not in card  # ten classes
    assert "off by 2.00 points on average: calibrate it" in card  # no temperature was measured


def test_without_validation_the_card_is_not_chosen_by_test_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [write_reported(tmp_path, "cutmix", seed, validation=None) for seed in (1, 0)]
    seeds = collect_runs(folders)["cutmix"]
    assert best_run(seeds).seed == 0
    card = model_card(best_run(seeds), seeds)
    assert "there is no validation split to choose by" in card
    assert "Without a validation split only the last epoch's error is unbiased" in card


def test_a_run_with_a_large_validation_error_has_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [write_reported(tmp_path, "cutmix", s, validation=100.0) for s in (0, 1)]
    seeds = collect_runs(folders)["cutmix"]
    assert "lowest validation error" in model_card(best_run(seeds), seeds)


def test_the_snippet_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_reported(tmp_path, "cutmix", 0).relative_to(tmp_path)
    give_weights(folder, size=SIZE, classes=10)
    (run,) = collect_runs([folder])["cutmix"]
    (snippet,) = re.findall(r"```python\n(.*?)```", model_card(run, [run]), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\['class \d', 'class \d'\]\n", done.stdout)


def test_names_are_text_in_a_card(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evil = "<img src=x onerror=alert(1)> [x](y) | `z`"
    folder = write_reported(tmp_path, "cutmix", 0, name=evil)
    described = json.loads((folder / "settings.json").read_text())
    described["data"]["classes"][0] = evil
    (folder / "settings.json").write_text(json.dumps(described))
    (run,) = collect_runs([folder])["cutmix"]
    card = model_card(run, [run])
    assert "<img" not in card
    assert card.count(r"&lt;img src=x onerror=alert(1)&gt; [x]\(y) \| \`z\`") == 3


def test_a_fine_tuned_network_says_so_with_its_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_reported(tmp_path, "cutmix", 0)
    described = json.loads((folder / "settings.json").read_text())
    described["settings"]["model"] |= {
        "weights": "downloads/lite0.safetensors",
        "head_init": "zero",
    }
    described["settings"]["training"] |= {
        "optimizer": "adamw",
        "schedule": "cosine",
        "min_lr": 0.0001,
        "backbone_lr": 0.1,
        "label_smoothing": 0.1,
        "test_crop": "center",
    }
    (folder / "settings.json").write_text(json.dumps(described))
    (run,) = collect_runs([folder])["cutmix"]
    card = model_card(run, [run])
    assert "the weights in lite0.safetensors, with a new head initialised to zero. Input" in card
    assert "- test images cropped to their centre\n" in card
    assert "that file's licence applies" in card
    assert "- AdamW, weight decay" in card
    assert "cosine down to 0.0001" in card
    assert "- label smoothing 0.1\n- backbone at 0.1 of the learning rate\n" in card
    assert "scratch" not in card
    assert "SGD" not in card


@pytest.mark.parametrize(
    ("recipe", "optimizer", "schedule"),
    [
        ({}, "SGD, Nesterov momentum 0.9, weight decay 0.0005", "×0.1 after epochs 75, 150, 225"),
        (
            {"optimizer": "timm/lamb", "betas": (0.9, 0.95), "schedule": "one_cycle"},
            "lamb (timm), betas 0.9 and 0.95, weight decay 0.0005",
            "one cycle",
        ),
        (
            {"nesterov": False, "schedule": "cosine", "warmup_epochs": 2.5},
            "SGD, momentum 0.9, weight decay 0.0005",
            "cosine, 2.5 epochs of warm-up",
        ),
    ],
)
def test_a_recipe_in_words(recipe, optimizer, schedule):
    training = TrainingSettings(**recipe)
    assert recipe_text.optimizer(training) == optimizer
    assert recipe_text.schedule(training) == schedule
    assert recipe_text.further(training) == []
