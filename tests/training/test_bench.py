"""The benchmark: its arithmetic against hand counts, and that its figures fit each other."""

import json

import pytest
import torch
from torch import nn

from saliencymixplus.bench import BenchSettings, bench, table
from saliencymixplus.errors import UserError
from saliencymixplus.training.flops import FlopCounter, forward_flops


def test_forward_flops_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 25, 7))
    assert forward_flops(model, 2, (5, 5)) == 2 * 2 * (25 * 4 * 3 * 9 + 100 * 7)


def test_gradients_of_inputs_alone_cost_less() -> None:
    layer, x = nn.Linear(8, 4), torch.randn(2, 8, requires_grad=True)
    with FlopCounter() as counter:
        torch.autograd.grad(layer(x).sum(), x)
    assert counter.flops == 2 * (2 * 2 * 8 * 4)  # forward, and one product backward


def test_figures_fit_each_other() -> None:
    settings = BenchSettings(
        device="cpu",
        model="resnet8",
        batch_size=4,
        image_size=8,
        classes=3,
        precision="fp32",
        methods=("none", "cutmix", "saliencymixplus"),
        rounds=2,
        warmup=1,
        seconds=0.0,
        images=400,
        epochs=10,
        mix_prob=0.5,
    )
    result = bench(settings, say=str)
    plain, cutmix, ours = result["steps"]
    assert plain["ratio_to_plain"] == 1
    assert cutmix["flops"] == plain["flops"]
    assert 1.6 * plain["flops"] < ours["flops"] < 1.7 * plain["flops"]  # + forward + input-only
    for step in result["steps"]:
        assert step["images_per_second"] == pytest.approx(4000 / step["ms"])
        assert 0 < step["share_of_peak"] < 1.5
    expected = 0.5 * (plain["ms"] + cutmix["ms"]) * 100 * 10 / 3.6e6
    assert cutmix["experiment_hours"] == pytest.approx(expected)
    json.dumps(result, allow_nan=False)
    assert table(result).row_count == 3


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(UserError, match="cutmx"):
        bench(BenchSettings(device="cpu", methods=("cutmx",)), say=str)
