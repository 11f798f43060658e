"""Evaluating run folders that come from somebody else."""

import json

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
