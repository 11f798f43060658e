"""Lists of methods, models and experiments, settings of a run, and JSON output."""

import json
import os
import subprocess
import sys

import pytest
import torch

from saliencymixplus.commands import completion
from saliencymixplus.commands.app import main
from saliencymixplus.mixing import METHODS
from saliencymixplus.models import model_names
from saliencymixplus.settings import load_params
from saliencymixplus.version import __version__
from tests.helpers import REPOSITORY


def test_the_version(cli):
    assert cli("--version").out == f"saliencymixplus {__version__}\n"


def test_every_method_has_a_line(cli, tmp_path):
    lines = cli("methods").out.splitlines()
    names = [line.split()[0] for line in lines]
    assert names[: len(METHODS)] == [*METHODS]
    assert len(names) == len(set(names))
    assert set(load_params(tmp_path / "params.yaml").top.mix) <= set(names)
    assert all(line.split(maxsplit=1)[1] for line in lines)
    assert any("cutmix 50%, mixup 50%, drawn for each batch" in line for line in lines)
    listed = json.loads(cli("methods", "--json").out)
    assert [entry["name"] for entry in listed] == names
    cutmix = next(entry for entry in listed if entry["name"] == "cutmix")
    assert (cutmix["label"], cutmix["options"]["alpha"]) == ("CutMix", 1.0)


def test_every_model_has_a_line(cli):
    listed = json.loads(cli("models", "--json").out)
    assert [entry["name"] for entry in listed] == model_names()
    sizes = {entry["name"]: entry["parameters"] for entry in listed}
    assert (sizes["resnet50"], sizes["resnet8"]) == (25_557_032, 75_290)
    assert any(line.startswith("resnet50 ") for line in cli("models").out.splitlines())


def test_every_experiment_has_a_line(cli, tmp_path):
    sections = load_params(tmp_path / "params.yaml").sections
    assert [line.split()[0] for line in cli("experiments").out.splitlines()] == [*sections]
    listed = json.loads(cli("experiments", "--json").out)
    assert [entry["name"] for entry in listed if entry["pipeline"]] == ["clutter"]


@pytest.mark.slow
def test_every_experiment_can_be_tried(cli, tmp_path):
    for name in load_params(tmp_path / "params.yaml").sections:
        tried = cli("train", "--experiment", name, "--mix-aug", "none", "--dry-run")
        assert tried.code == 0, tried.err
        assert "seed:" in tried.out, name


def test_config_says_where_each_setting_comes_from(cli):
    given = ("--set", "digits.training.epochs=3", "--set", "mix.cutmix.alpha=0.5")
    found = json.loads(cli("config", "--mix-aug", "CutMix", "--json", *given).out)
    assert found["digits.training.epochs"] == {"value": 3, "from": "--set"}
    assert found["digits.training.batch_size"] == {"value": 64, "from": "params.yaml"}
    assert found["digits.training.momentum"] == {"value": 0.9, "from": "default"}
    assert found["mix.cutmix.alpha"] == {"value": 0.5, "from": "--set"}
    assert found["mix.cutmix.box"] == {"value": "batch", "from": "default of cutmix"}
    assert found["evaluation.batch_size"]["from"] == "default"
    lines = cli("config", "--mix-aug", "CutMix", *given).out.splitlines()
    assert len(lines) == len(found)
    found = json.loads(cli("config", "--mix-aug", "cutmix-or-mixup", "--json", *given).out)
    key = "mix.cutmix-or-mixup.switch.mixup"
    assert found[key] == {"value": 0.5, "from": "params.yaml"}
    assert found["mix.cutmix.alpha"] == {"value": 0.5, "from": "--set"}
    assert found["mix.mixup.alpha"] == {"value": 1.0, "from": "default of mixup"}
    assert any(line.split() == ["digits.training.epochs=3", "#", "--set"] for line in lines)


def test_config_prints_what_set_takes(cli, tmp_path):
    lines = cli("config", "--mix-aug", "saliencymix").out.splitlines()
    settings = [line.partition("  # ")[0].rstrip() for line in lines]
    settings.remove("seed=0")
    after_seed = next(i for i, s in enumerate(settings) if s.startswith("evaluation."))
    again = cli("config", "--mix-aug", "saliencymix", *(x for s in settings for x in ("--set", s)))
    assert again.code == 0
    assert [line.partition("  # ")[0].rstrip() for line in again.out.splitlines()] == [
        *settings[:after_seed],
        "seed=0",
        *settings[after_seed:],
    ]


def test_a_dry_run_trains_nothing_and_refuses_what_training_would(cli, tmp_path, ready):
    small = ("--set", "digits.data.image_size=8", "--prepared", ready.prepared)
    before = sorted(tmp_path.rglob("*"))
    outcome = cli("train", "--mix-aug", "SaliencyMix+", "--dry-run", *small)
    assert outcome.code == 0
    assert "saliencymixplus" in outcome.out
    assert "75,290 parameters" in outcome.out
    assert "1221 train" in outcome.out
    assert "a new run" in outcome.out
    done = cli("train", "--dry-run", "--output", ready.run, *small)
    assert "already has a finished run" in done.out
    assert sorted(tmp_path.rglob("*")) == before
    refused = cli("train", "--dry-run", "--model", "resnet51", *small)
    assert refused.code != 0
    assert "did you mean" in refused.err


def test_before_the_data_are_there_a_dry_run_says_so(cli, tmp_path):
    outcome = cli("train", "--dry-run")
    assert "digits, to be downloaded and prepared first" in outcome.out


def test_a_dry_run_reads_the_weights_file(cli):
    outcome = cli("train", "--dry-run", "--set", "digits.model.weights=none.safetensors")
    assert outcome.code == 1
    assert "cannot read model.weights none.safetensors" in outcome.err


def test_a_dry_run_does_not_import_the_compiler_as_an_optimizer_does(cli, ready, monkeypatch):
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", lambda *_: pytest.fail("imported"))
    small = ("--set", "digits.data.image_size=8", "--prepared", ready.prepared)
    assert cli("train", "--dry-run", *small).code == 0


def test_a_dry_run_says_which_weights_will_be_downloaded(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    published = ("--set", "digits.model.weights=pretrained", "--model")
    outcome = cli("train", "--dry-run", *published, "resnet18")
    address = "https://download.pytorch.org/models/resnet18"
    assert f"weights:  pretrained, to be downloaded from {address}" in outcome.out
    outcome = cli("train", "--dry-run", *published, "resnet8")
    assert outcome.code == 1
    assert "torchvision publishes no weights for resnet8" in outcome.err


@pytest.mark.parametrize("name", ["evaluate", "compare", "audit"])
def test_json_alone_is_on_standard_output(cli, tmp_path, ready, name):
    few = ("--set", "evaluation.parts=[]")
    arguments = {
        "evaluate": (ready.run, "--prepared", ready.prepared, "--tracker", "none", *few),
        "compare": (ready.run,),
        "audit": (ready.run.parent, "--prepared", ready.prepared, "--mix-aug", "cutmix"),
    }[name]
    outcome = cli(name, *arguments, "--output", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    content = json.loads(outcome.out)
    key = {"evaluate": "top1_error", "compare": "tables", "audit": "mixes"}[name]
    assert key in content


def test_audit_takes_folders_that_hold_runs(cli, tmp_path, ready):
    outcome = cli(
        *("audit", ready.run.parent, "--prepared", ready.prepared, "--mix-aug", "cutmix"),
        *("--output", tmp_path / "audit"),
    )
    assert outcome.code == 0, outcome.err
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert "nothing" in cli("audit", nothing, "--prepared", ready.prepared).err


@pytest.fixture
def run_bare(cli, monkeypatch, capsys):
    """Like ``cli``, but without ``--experiment digits``; returns what is printed."""

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, arguments)])
        with pytest.raises(SystemExit):
            main()
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


def test_compare_writes_runs_named_by_hand_to_no_experiments_report(run_bare, tmp_path, ready):
    before = {*tmp_path.rglob("*")}
    out, err = run_bare("compare", ready.run, "--baseline", "cutmix")
    assert "Last epoch" in out, err
    assert "comparison:" not in out
    assert {*tmp_path.rglob("*")} == before
    for place in (("--output", "mine"), ("--experiment", "digits")):
        out, err = run_bare("compare", ready.run, "--baseline", "cutmix", *place)
        assert err == ""
    assert (tmp_path / "mine/comparison.md").is_file()
    assert (tmp_path / "reports/digits/comparison.md").is_file()
    assert not (tmp_path / "reports/clutter").exists()


def test_audit_takes_methods_and_data_from_the_runs(run_bare, tmp_path, copied):
    def audited(*arguments: object) -> tuple[str, str]:
        return run_bare("audit", *arguments)

    out, err = audited(copied.run, "--prepared", copied.prepared, "--json")
    assert [*json.loads(out)["mixes"]] == ["cutmix"], err
    assert (tmp_path / "audits" / "digits" / "audit.json").is_file()
    # The data of the run's experiment, not those of the default one.
    small = ("--set", "digits.data.image_size=8")
    found = json.loads(audited(copied.run, *small, "--json", "--output", tmp_path / "audit")[0])
    assert found == json.loads(out)


def test_the_shell_completes_commands_and_names(tmp_path, monkeypatch):
    program = (
        "import sys; sys.argv[0] = 'saliencymixplus'; "
        "from saliencymixplus.commands.app import main; main()"
    )

    def completed(words: str) -> list[str]:
        environment = os.environ | {
            "_SALIENCYMIXPLUS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    assert completed("saliencymixplus prev") == ["preview"]
    assert completed("saliencymixplus train --mix-aug saliencymixp")[0] == "saliencymixplus"
    monkeypatch.chdir(REPOSITORY)
    assert {"digits", "cifar100"} <= set(completion.experiments())
    assert {"cutmix", "plus-half-pairs"} <= set(completion.recipes())
    monkeypatch.chdir(tmp_path)
    assert completion.experiments() == []
