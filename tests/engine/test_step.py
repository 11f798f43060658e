"""One step of a training: its passes, its optimiser, the weights' average, and what is counted."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.epoch_metrics import EpochTotals, Totals
from saliencymixplus.engine.optimizer import create_optimiser, momentum_of, set_rate
from saliencymixplus.mixing import Step, create
from saliencymixplus.settings import RuntimeSettings, TrainingSettings
from tests.helpers import run_settings


def test_train_error_weighs_both_labels_by_lambda() -> None:
    mixer = create("mixup")
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(0))
    logits = torch.eye(3)[labels]  # always right about the first source
    totals = Totals(torch.device("cpu"))
    totals.add(Step(torch.tensor(2.0), logits, mixed), labels)
    totals.add(Step(torch.tensor(1.0), logits[[1, 1, 2, 0]], None), labels)
    read = Totals.read(totals.values)
    same = mixed.labels_a == mixed.labels_b
    expected = torch.where(same, 1.0, mixed.lam).mean().item()
    assert read.mixed_top1_error == pytest.approx(100 * (1 - expected))
    assert read.clean_top1_error == 25.0
    assert read.loss == 1.5
    assert read.mean_lam == pytest.approx(mixed.lam.mean().item())


def test_totals_go_on_with_an_epoch_and_name_its_first_bad_step() -> None:
    totals = Totals(torch.device("cpu"))
    assert Totals.read(totals.values) == EpochTotals(0.0, None, None, None, 0)
    logits, labels = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])
    for loss in (1.0, float("inf"), float("nan")):
        totals.add(Step(torch.tensor(loss), logits, None), labels)
    assert totals.bad_step == 1
    totals.reset()
    assert totals.bad_step == -1
    for _ in range(2):
        totals.add(Step(torch.tensor(float("nan")), logits, None), labels)
    assert totals.bad_step == 0
    totals.reset()
    totals.add(Step(torch.tensor(2.0), logits, None), labels)
    kept = totals.values.clone()
    totals.reset(kept)
    totals.add(Step(torch.tensor(4.0), logits[:2], None), labels[:2])
    read = Totals.read(totals.values)
    assert read.images == 6
    assert read.loss == pytest.approx((4 * 2.0 + 2 * 4.0) / 6)
    assert read.clean_top1_error == pytest.approx(100 / 6)
    totals.add(Step(torch.tensor(float("inf")), logits, None), labels)
    assert totals.bad_step == 2


def test_soft_labels_are_counted_as_the_hard_ones_they_stand_for() -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    logits, errors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), []
    for given in (labels, torch.eye(3)[labels]):
        mixed = create("mixup")(images, given, generator=torch.Generator().manual_seed(0))
        totals = Totals(torch.device("cpu"))
        totals.add(Step(torch.tensor(1.0), logits, mixed), given)
        errors.append(Totals.read(totals.values).mixed_top1_error)
    assert errors[0] == pytest.approx(errors[1])
    assert 0 < errors[0] < 100


def test_both_passes_of_a_step_are_under_autocast(tiny: Path) -> None:
    cpu, run = torch.device("cpu"), run_settings("saliencymixplus")
    step = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str).step
    seen: list[bool] = []
    for network in (step.local, step.twin):
        network.register_forward_pre_hook(
            lambda module, given: seen.append(torch.is_autocast_enabled("cpu"))
        )
    (inputs,) = step.source.inputs([torch.arange(16)])
    for context, within in ((nullcontext, False), (partial(torch.autocast, "cpu"), True)):
        seen.clear()
        replace(step, autocast=context)(inputs, True)
        assert seen == [within, within]


@pytest.mark.parametrize("use_saliency", [True, False])
def test_a_step_takes_its_saliency_pass_only_if_told_to(tiny: Path, use_saliency: bool) -> None:
    cpu = torch.device("cpu")
    run = run_settings("saliencymixplus")
    parts = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str)
    passes: list[bool] = []
    parts.step.twin.register_forward_pre_hook(lambda module, given: passes.append(True))
    (inputs,) = parts.sources["train"].inputs([torch.arange(16)])
    parts.engine.run(inputs, True, use_saliency=use_saliency, epoch=1, index=0)
    assert len(passes) == use_saliency


@pytest.mark.parametrize(
    "recipe",
    [
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "nesterov": False},
        {"momentum": 0.0, "nesterov": False},
    ],
    ids=str,
)
def test_the_optimiser_steps_as_torchs_own_does(recipe: dict[str, Any]) -> None:
    settings = TrainingSettings(learning_rate=0.3, weight_decay=0.05, **recipe)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    model[1].bias.requires_grad_(False)
    other = copy.deepcopy(model)
    trained = [p for p in other.parameters() if p.requires_grad]
    theirs = torch.optim.SGD(trained, lr=0.3, weight_decay=0.05, **recipe)
    ours = create_optimiser(model, settings)
    for rate in (0.3, 0.3, 0.1):
        set_rate(ours, rate)
        theirs.param_groups[0]["lr"] = rate
        for network, optimiser in ((model, ours), (other, theirs)):
            optimiser.zero_grad()
            network(torch.ones(2, 3)).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(model.state_dict(), other.state_dict())
    momentum = {"0.weight", "0.bias", "1.weight"} if recipe["momentum"] else set()
    assert momentum_of(model, ours).keys() == momentum


def test_weight_average_is_what_its_formula_says(tiny: Path) -> None:
    run = run_settings("none", weight_average=0.15)
    parts = assemble(
        run, load_prepared(tiny), RuntimeSettings(device="cpu"), torch.device("cpu"), say=str
    )
    average = parts.step.average
    assert average is not None
    expected = {k: v.clone() for k, v in parts.step.local.state_dict().items()}
    for index, inputs in enumerate(parts.sources["train"].inputs(torch.arange(48).split(16))):
        average.set_step(index)
        parts.engine.run(inputs, False, epoch=1, index=index)
        decay = min(0.15, (1 + index) / (10 + index))
        for key, value in parts.step.local.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value
    for key, value in average.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, parts.step.local.state_dict()[key])
    assert parts.evaluated is average.model
    assert not any(module.training for module in average.model.modules())
    assert not any(p.requires_grad for p in average.model.parameters())
