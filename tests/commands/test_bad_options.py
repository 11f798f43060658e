"""A wrong option, name, file or value: one line that names it, exit code not 0, nothing left."""

import pytest

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
    (["train", "--seed", "-1"], "--seed"),
    (["train", "--seed", "first"], "--seed"),
    (["train", "--seed", "99999999999"], "seed"),
    (["train", "--epochs", "0"], "epochs"),
    (["train", "--epochs", "ten"], "--epochs"),
    (["train", "--epochs", "1.5"], "--epochs"),
    (["train", "--batch_size", "0"], "batch_size"),
    (["train", "--batch-size", "big"], "--batch-size"),
    (["train", "--batch-size", "100000"], "batch"),
    (["train", "--learning-rate", "0"], "learning_rate"),
    (["train", "--learning-rate", "nan"], "learning_rate"),
    (["train", "--learning-rate", "inf"], "learning_rate"),
    (["train", "--learning-rate", "fast"], "--learning-rate"),
    (["train", "--mix-prob", "1.5"], "mix_prob"),
    (["train", "--mix-prob", "-0.5"], "mix_prob"),
    (["train", "--weight-decay", "-1"], "weight_decay"),
    (["train", "--schedule", "linear"], "schedule"),
    (["train", "--augment", "mirror"], "augment"),
    (["train", "--precision", "fp64"], "precision"),
    (["train", "--model", "resnet51"], "resnet50"),
    (["train", "--model", ""], "model"),
    (["train", "--device", "tpu"], "tpu"),
    (["train", "--device", "cuda:x"], "cuda:x"),
    (["train", "--tracker", "wandb"], "--tracker"),
    (["train", "--progress", "loud"], "--progress"),
    (["train", "--engine", "jit"], "--engine"),
    (["train", "--data-on", "tape"], "--data-on"),
    (["train", "--workers", "-1"], "--workers"),
    (["train", "--workers", "many"], "--workers"),
    (["train", "--set", "digits"], "--set"),
    (["train", "--set", "=1"], "--set"),
    (["train", "--set", "digits.training.epoch=1"], "digits.training.epoch"),
    (["train", "--set", "digits.training.epochs=[1"], "--set"),
    (["train", "--set", "mix.saliencymixplus.pairs=halves"], "pairs"),
    (["train", "--set", "mix.saliencymixplus.pair=half"], "did you mean 'pairs'"),
    (["train", "--set", "mix.saliencymixplus.alpha=-1"], "alpha"),
    (["train", "--set", "mix.saliencymixplus.variant=original"], "variant"),
    (["train", "--set", "mix.saliencymixplus.method=mixip"], "mixip"),
    (["train", "--params", "missing.yaml"], "missing.yaml"),
    (["train", "--params", "."], "."),
    (["train", "--prepared", "nowhere"], "nowhere"),
    (["train", "extra"], "extra"),
    (["prepare", "--source", "nowhere", "--output", "out"], "nowhere"),
    (["download", "--experiment", "nothing"], "nothing"),
    (["evaluate", "nowhere"], "nowhere"),
    (["evaluate"], "RUN"),
    (["compare", "nowhere"], "nowhere"),
    (["preview", "--mix-aug", "cutmx"], "cutmix"),
    (["preview", "--count", "0"], "--count"),
    (["preview", "--run", "nowhere"], "nowhere"),
    (["audit", "--experiment", "nothing"], "nothing"),
    (["report", "--experiment", "nothing"], "nothing"),
    (["bench", "--model", "resnet51"], "resnet50"),
    (["bench", "--batch-size", "0"], "--batch-size"),
    (["sync", "now"], "now"),
]


@pytest.mark.parametrize(("arguments", "culprit"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_one_line_names_the_culprit(cli, tmp_path, arguments, culprit):
    before = {path.name for path in tmp_path.iterdir()}
    outcome = cli(*arguments)
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert outcome.code not in (0, None)
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    assert culprit in lines[0]
    assert "Traceback" not in outcome.out + outcome.err
    left = {path.name for path in tmp_path.iterdir()} - before - {"state"}
    assert not left, f"left behind: {left}"
