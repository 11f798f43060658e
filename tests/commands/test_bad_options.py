"""A wrong option, name, file or value: one line that names it, exit code not 0, nothing left."""

from typing import Any

import pytest
import typer

from saliencymixplus.commands import data, evaluate, look, train  # noqa: F401  (register)
from saliencymixplus.commands.app import app

CASES = [
    (["tran"], "tran"),
    (["train", "--mix-agu", "cutmix"], "--mix-agu"),
    (["train", "--mix-aug"], "--mix-aug"),
    (["train", "--mix-aug", "cutmx"], "did you mean 'cutmix'"),
    (["train", "--mix-aug", "SaliencyMix++"], "saliencymix"),
    (["train", "--mix-aug", ""], "''"),
    (["train", "--dataset", "cifar"], "did you mean 'cifar10'"),
    (["train", "--experiment", ""], "''"),
    (["train", "--experiment", "experiments"], "'experiments'"),
    (["train", "--experiment", "../digits"], "did you mean 'digits'"),
    (["train", "--seed", "-1"], "--seed"),
    (["train", "--seed", "first"], "--seed"),
    (["train", "--seed", "99999999999"], "seed"),
    (["train", "--epochs", "0"], "epochs"),
    (["train", "--epochs", "ten"], "--epochs"),
    (["train", "--epochs", "1.5"], "--epochs"),
    (["train", "--epochs", "1"], "warmup_epochs"),
    (["train", "--batch_size", "0"], "batch_size"),
    (["train", "--batch-size", "big"], "--batch-size"),
    (["train", "--learning-rate", "0"], "learning_rate"),
    (["train", "--learning-rate", "nan"], "learning_rate"),
    (["train", "--learning-rate", "inf"], "learning_rate"),
    (["train", "--learning-rate", "fast"], "--learning-rate"),
    (["train", "--mix-prob", "1.5"], "mix_prob"),
    (["train", "--mix-prob", "-0.5"], "mix_prob"),
    (["train", "--mix-prob", "nan"], "mix_prob"),
    (["train", "--weight-decay", "-1"], "weight_decay"),
    (["train", "--schedule", "linear"], "schedule"),
    (["train", "--augment", "mirror"], "augment"),
    (["train", "--precision", "fp64"], "precision"),
    (["train", "--model", "resnet51"], "did you mean 'resnet5"),
    (["train", "--model", ""], "model"),
    (["train", "--model", "inception_v3"], "inception_v3"),
    (["train", "--device", "tpu"], "tpu"),
    (["train", "--device", "cuda:x"], "cuda:x"),
    (["train", "--device", "cuda:99"], "cuda:99"),
    (["train", "--device", ""], "''"),
    (["train", "--tracker", "wandb"], "--tracker"),
    (["train", "--progress", "loud"], "--progress"),
    (["train", "--engine", "jit"], "--engine"),
    (["train", "--data-on", "tape"], "--data-on"),
    (["train", "--workers", "-1"], "--workers"),
    (["train", "--workers", "many"], "--workers"),
    (["train", "--workers", "100000"], "--workers"),
    (["train", "--resume=maybe"], "--resume"),
    (["train", "--compile=yes"], "--compile"),
    (["train", "--deterministic=1"], "--deterministic"),
    (["train", "--output"], "--output"),
    (["train", "--set", "digits"], "--set"),
    (["train", "--set", "=1"], "--set"),
    (["train", "--set", "digits.training.epoch=1"], "digits.training.epoch"),
    (["train", "--set", "digits.training.epochs=[1"], "--set"),
    (["train", "--set", "digits.training.epochs="], "digits.training.epochs"),
    (["train", "--set", "digits.training=5"], "digits.training"),
    (["train", "--set", "digits.training.epochs.more=5"], "epochs"),
    (["train", "--set", "digts.training.epochs=5"], "digts"),
    (["train", "--set", "mix.saliencymixplus.pairs=halves"], "pairs"),
    (["train", "--set", "mix.saliencymixplus.pair=half"], "did you mean 'pairs'"),
    (["train", "--set", "mix.saliencymixplus.alpha=-1"], "alpha"),
    (["train", "--set", "mix.saliencymixplus.alpha=wide"], "alpha"),
    (["train", "--set", "mix.saliencymixplus.variant=original"], "variant"),
    (["train", "--set", "mix.saliencymixplus.method=mixip"], "mixip"),
    (["train", "--set", "mix.saliencymixplus.method=[1]"], "[1]"),
    (["train", "--set", "mix.saliencymixplus=published"], "mix.saliencymixplus"),
    (["train", "--params", "missing.yaml"], "missing.yaml"),
    (["train", "--params", "."], "."),
    (["train", "--params", "ein Näme.yaml"], "ein Näme.yaml"),
    (["train", "--prepared", "nowhere"], "nowhere"),
    (["train", "--prepared", "params.yaml"], "params.yaml"),
    (["train", "extra"], "extra"),
    (["download", "--experiment", "nothing"], "nothing"),
    (["download", "--output"], "--output"),
    (["download", "--params", "missing.yaml"], "missing.yaml"),
    (["download", "--set", "digits.download.source=mnist"], "digits.download.source"),
    (["download", "--set", "digits.download.mirror=nowhere"], "download.mirror"),
    (["download", "--set", "cifar10.download.mirror=nowhere", "--dataset", "cifar10"], "nowhere"),
    (
        ["download", "--set", "cifar10.download.mirror=http://far.example", "--dataset", "cifar10"],
        "https",
    ),
    (["prepare", "--experiment", "digit"], "did you mean 'digits'"),
    (["prepare", "--source", "nowhere", "--output", "out"], "nowhere"),
    (["prepare", "--source", "params.yaml", "--output", "out"], "params.yaml"),
    (["prepare", "--output"], "--output"),
    (["prepare", "--params", "missing.yaml"], "missing.yaml"),
    (["prepare", "--set", "digits.data.image_size=7"], "digits.data.image_size"),
    (["evaluate", "nowhere"], "nowhere"),
    (["evaluate", "params.yaml"], "params.yaml"),
    (["evaluate", "."], "."),
    (["evaluate"], "RUN"),
    (["evaluate", "a", "b"], "b"),
    (["evaluate", ".", "--output"], "--output"),
    (["evaluate", ".", "--prepared"], "--prepared"),
    (["evaluate", ".", "--device"], "--device"),
    (["evaluate", ".", "--tracker", "wandb"], "--tracker"),
    (["evaluate", ".", "--params", "missing.yaml"], "missing.yaml"),
    (["evaluate", ".", "--set", "evaluation.batch_size=0"], "evaluation.batch_size"),
    (["audit", "--experiment", "nothing"], "nothing"),
    (["audit", "nowhere"], "nowhere"),
    (["audit", "--mix-aug", "cutmx"], "did you mean 'cutmix'"),
    (["audit", "--mix-aug", "cutmix", "--prepared", "nowhere"], "nowhere"),
    (["audit", "--mix-aug", "cutmix", "--device", "tpu", "--prepared", "nowhere"], "tpu"),
    (["audit", "--output"], "--output"),
    (["audit", "--params", "missing.yaml"], "missing.yaml"),
    (["audit", "--set", "audit.images=0"], "audit.images"),
    (["compare", "nowhere"], "nowhere"),
    (["compare"], "digits"),
    (["compare", "--experiment", "nothing"], "nothing"),
    (["compare", "nowhere", "--baseline"], "--baseline"),
    (["compare", "--output"], "--output"),
    (["compare", "--params", "missing.yaml"], "missing.yaml"),
    (["compare", "--set", "methods=none"], "methods"),
    (["report", "--experiment", "nothing"], "nothing"),
    (["report", "--output"], "--output"),
    (["report", "--tracker", "wandb"], "wandb"),
    (["report", "--params", "missing.yaml"], "missing.yaml"),
    (["report", "--set", "seeds=0"], "seeds"),
    (["preview", "--mix-aug", "cutmx"], "cutmix"),
    (["preview", "--experiment", "nothing"], "nothing"),
    (["preview", "--count", "0"], "--count"),
    (["preview", "--count", "65"], "--count"),
    (["preview", "--seed", "-1"], "--seed"),
    (["preview", "--seed", "4294967296"], "--seed"),
    (["preview", "--run", "nowhere", "--prepared", "nowhere"], "nowhere"),
    (["preview", "--prepared", "nowhere"], "nowhere"),
    (["preview", "--split", "tests"], "tests"),
    (["preview", "--outlines=all"], "--outlines"),
    (["preview", "--output"], "--output"),
    (["preview", "--params", "missing.yaml"], "missing.yaml"),
    (["preview", "--set", "digits.model.name=3"], "digits.model.name"),
    (["sync", "now"], "now"),
    (["sync", "--all"], "--all"),
]
BENCH = [
    (["bench", "--model", "resnet51"], "did you mean 'resnet5"),
    (["bench", "--batch-size", "0"], "--batch-size"),
    (["bench", "--batch-size", "many"], "--batch-size"),
    (["bench", "--device", "tpu"], "tpu"),
]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
if "bench" in COMMANDS:
    CASES += BENCH


@pytest.mark.parametrize(("arguments", "culprit"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_one_line_names_the_culprit(refused, arguments, culprit):
    refused(*arguments, culprit=culprit)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_has_a_case(command):
    """So that an option which is added later gets one too."""
    tried = {
        word.partition("=")[0].replace("_", "-")
        for arguments, _ in CASES
        if arguments[0] == command
        for word in arguments
    }
    options = [p.opts for p in COMMANDS[command].params if p.opts[0].startswith("--")]
    assert not [names for names in options if not tried & set(names)]
