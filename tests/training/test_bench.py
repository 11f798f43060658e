"""The benchmark: its arithmetic against hand counts, and that its figures fit each other."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from saliencymixplus.bench import BenchSettings, bench, table
from saliencymixplus.mixing import resolve_options
from saliencymixplus.settings import MixSettings
from saliencymixplus.training.flops import FlopCounter, forward_flops


def recipe(method: str, name: str = "", **options: Any) -> MixSettings:
    resolved = resolve_options(method, options)
    return MixSettings(name=name or method, method=method, options=resolved)


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
        mixes=tuple(recipe(name) for name in ("none", "cutmix", "saliencymixplus")),
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


def test_a_cheaper_saliency_pass_is_measured_as_such() -> None:
    """Recipes keep their options, and half of the steps without a pass take half of its work."""
    cheap = {"every": {"saliency_every": 2}, "share": {"saliency_share": 0.5}}
    mixes = [recipe("none"), recipe("saliencymixplus")]
    mixes += [recipe("saliencymixplus", name, **options) for name, options in cheap.items()]
    small = BenchSettings(
        device="cpu",
        model="resnet8",
        batch_size=8,
        image_size=8,
        classes=3,
        precision="fp32",
        mixes=tuple(mixes),
        rounds=1,
        warmup=0,
        seconds=0.0,
    )
    plain, full, every, share = bench(small, say=str)["steps"]
    assert [every["method"], share["method"]] == ["every", "share"]
    half = plain["flops"] + (full["flops"] - plain["flops"]) / 2
    assert every["flops"] == pytest.approx(half)
    assert share["flops"] == pytest.approx(half)
