"""Evaluate run folders that come from somebody else."""

import json
import re
import shutil

import pytest

from saliencymixplus.datasets import cache


def test_a_run_does_not_decide_where_data_come_from(cli, copied, monkeypatch, tmp_path):
    settings = json.loads((copied.run / "settings.json").read_text())
    stranger = {"source": "cifar10", "mirror": "https://stranger.example/x", "path": None}
    settings["settings"]["download"] |= stranger
    (copied.run / "settings.json").write_text(json.dumps(settings))
    asked = []
    monkeypatch.setattr(
        cache, "prepared", lambda section, name: asked.append(section) or copied.prepared
    )
    arguments = (copied.run, "--output", tmp_path / "out", "--tracker", "none")
    few = ("--set", "evaluation.parts=[]")
    outcome = cli("evaluate", *arguments, *few)
    assert outcome.code == 0, outcome.err
    assert re.search(r"^top1_error +\d+\.\d+ %$", outcome.out, re.MULTILINE)
    assert "top5_error" not in outcome.out  # not informative with ten classes
    (section,) = asked
    assert (section.download.source, section.download.mirror) == ("digits", None)
    assert section.data.image_size == 8  # what was trained on


def test_an_experiment_that_params_lack_needs_its_data(cli, copied, tmp_path):
    settings = json.loads((copied.run / "settings.json").read_text())
    settings["settings"]["experiment"] = "elsewhere"
    (copied.run / "settings.json").write_text(json.dumps(settings))
    outcome = cli("evaluate", copied.run, "--output", tmp_path / "out", "--tracker", "none")
    assert outcome.code != 0
    assert "--prepared" in outcome.err


def test_every_run_below_a_folder_is_evaluated_in_one_process(cli, refused, copied, tmp_path):
    runs = [tmp_path / "mine" / "cutmix" / name for name in ("seed0", "seed1")]
    for run in runs:
        shutil.copytree(copied.run, run, ignore=shutil.ignore_patterns("evaluation"))
    few = ("--prepared", copied.prepared, "--tracker", "none", "--set", "evaluation.parts=[]")
    outcome = cli("evaluate", tmp_path / "mine", *few, "--json")
    assert outcome.code == 0, outcome.err
    assert list(json.loads(outcome.out)) == [str(run) for run in runs]
    assert all((run / "evaluation" / "evaluation.json").is_file() for run in runs)
    refused("evaluate", tmp_path / "mine", *few, "--output", tmp_path / "out", culprit="--output")


def test_evaluate_all_says_where_the_evaluations_are(cli, copied, tmp_path):
    run = tmp_path / "mine" / "cutmix" / "seed0"
    shutil.copytree(copied.run, run, ignore=shutil.ignore_patterns("evaluation"))
    which = ("--experiment", "digits", "--mix-aug", "cutmix", "--set", "seeds=[0]")
    few = ("--prepared", copied.prepared, "--tracker", "none", "--set", "evaluation.parts=[]")
    outcome = cli("evaluate-all", "--runs", tmp_path / "mine", *which, *few)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(f"evaluations: {tmp_path / 'mine'}\n")
    assert (run / "evaluation" / "made_from.json").is_file()


def test_missing_runs_are_refused_before_data_are_made(refused, monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "prepared", lambda *_: pytest.fail("made in vain"))
    refused("evaluate-all", "--runs", tmp_path / "mine", culprit="train it first")


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_run_does_not_decide_which_data_are_read(cli, copied, tmp_path, monkeypatch, command):
    settings = json.loads((copied.run / "settings.json").read_text())
    settings["settings"]["download"] = {"source": "imagefolder", "path": str(tmp_path)}
    (copied.run / "settings.json").write_text(json.dumps(settings))
    looked_at = []
    stamp = cache.source_stamp
    monkeypatch.setattr(
        cache, "source_stamp", lambda given: looked_at.append(given) or stamp(given)
    )
    quick = {
        "evaluate": ["--tracker", "none", "--set", "evaluation.parts=[]"],
        "export": ["--format", "pt2"],
    }
    outcome = cli(command, copied.run, "--output", tmp_path / "made", *quick[command])
    assert outcome.code == 0, outcome.err
    assert {given.source for given in looked_at} == {"digits"}
