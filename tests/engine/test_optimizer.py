"""Optimizers against torch's and timm's, and their state in checkpoints."""

import copy
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.cuda_graph import create_engine
from saliencymixplus.engine.optimizer import (
    create_optimizer,
    is_capturable,
    load_named_state,
    named_state,
    parameter_groups,
    set_lr,
    state_tensors,
)
from saliencymixplus.engine.step import PLAIN, TrainStep
from saliencymixplus.errors import UserError
from saliencymixplus.models import create_model
from saliencymixplus.settings import RuntimeSettings, TrainingSettings
from tests.helpers import run_settings

CPU = torch.device("cpu")
ADAMW = {"optimizer": "adamw", "learning_rate": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}


def two_layers() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[1].bias.requires_grad_(False)
    return model


def follow(model: nn.Module, optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for rate in rates:
        set_lr(optimizer, rate)
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    "recipe",
    [
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "nesterov": False},
        {"momentum": 0.0, "nesterov": False},
        ADAMW,
        {"optimizer": "timm/lamb", "betas": (0.8, 0.95)},
    ],
    ids=str,
)
def test_the_optimizer_steps_as_its_library_does(recipe: dict[str, Any]) -> None:
    settings = TrainingSettings(weight_decay=0.05, **({"learning_rate": 0.3} | recipe))
    model = two_layers()
    other = copy.deepcopy(model)
    given = dict(recipe) | {"lr": 0.3, "weight_decay": 0.05}
    given.pop("learning_rate", None)
    kind = given.pop("optimizer", "sgd")
    trained = [p for p in other.parameters() if p.requires_grad]
    if kind == "timm/lamb":
        timm_optim = pytest.importorskip("timm.optim")
        theirs = timm_optim.Lamb(trained, **given)
    else:
        theirs = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[kind](trained, **given)
    rates = [0.3, 0.3, 0.1]
    follow(model, create_optimizer(model, settings), rates)
    follow(other, theirs, rates)
    torch.testing.assert_close(model.state_dict(), other.state_dict())


def test_a_captured_step_finds_its_state_where_it_was() -> None:
    for recipe, kept in (({}, 3), ({"momentum": 0.0, "nesterov": False}, 0), (ADAMW, 9)):
        model = two_layers()
        optimizer = create_optimizer(model, TrainingSettings(**recipe))
        places = [value.data_ptr() for value in state_tensors(optimizer)]
        rate = optimizer.param_groups[0]["lr"]
        follow(model, optimizer, [0.1, 0.01])
        assert len(places) == kept
        assert [value.data_ptr() for value in state_tensors(optimizer)] == places
        assert optimizer.param_groups[0]["lr"] is rate
        assert rate == torch.tensor(0.01)
        assert is_capturable(optimizer)


def test_norms_and_biases_are_exempt_from_decay_as_in_timm() -> None:
    optim = pytest.importorskip("timm.optim")
    for name in ("timm/resnet10t", "timm/vit_tiny_patch16_224", "resnet8"):
        model = create_model(name, 5, 32)
        ours = parameter_groups(model, TrainingSettings(no_decay="norm_bias", weight_decay=0.1))
        excluded = getattr(model, "no_weight_decay", set)()
        theirs = optim.param_groups_weight_decay(model, 0.1, no_weight_decay_list=excluded)
        by_decay = {group["weight_decay"]: {*map(id, group["params"])} for group in ours}
        assert by_decay == {g["weight_decay"]: {*map(id, g["params"])} for g in theirs}
    (published,) = parameter_groups(model, TrainingSettings())
    assert [*map(id, published["params"])] == [*map(id, model.parameters())]


def training(tiny: Path, **recipe: Any) -> TrainStep:
    run = run_settings("none", **recipe)
    return assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), CPU, say=str).step


def weights_after(step: TrainStep, first: int, last: int) -> dict[str, Tensor]:
    for index, inputs in enumerate(step.source.inputs(torch.arange(48).split(16))):
        if first <= index < last:
            step.streams.start(1, index)
            set_lr(step.optimizer, 0.01 / (index + 1))
            step(inputs, PLAIN)
    return step.local.state_dict()


@pytest.mark.parametrize(
    "recipe",
    [
        {"momentum": 0.0, "nesterov": False},
        {"no_decay": "norm_bias"},
        ADAMW,
        {"optimizer": "timm/lamb"},
        {"optimizer": "timm/lookahead_adamw"},
        {"optimizer": "timm/adafactor"},
        {"optimizer": "timm/adan"},
    ],
    ids=str,
)
def test_state_goes_through_a_checkpoint_bit_for_bit(tiny: Path, recipe: dict[str, Any]) -> None:
    if recipe.get("optimizer", "").startswith("timm"):
        pytest.importorskip("timm")
    whole = training(tiny, **recipe)
    expected = weights_after(whole, 0, 3)
    first, second = training(tiny, **recipe), training(tiny, **recipe)
    weights_after(first, 0, 2)
    file = io.BytesIO()
    torch.save(named_state(first.local, first.optimizer), file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert saved["parameters"].keys() <= dict(first.local.named_parameters()).keys()
    second.local.load_state_dict(first.local.state_dict())
    load_named_state(second.local, second.optimizer, saved)
    found = weights_after(second, 2, 3)
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": "timm/lam"}, "timm has no optimizer called 'lam': did you mean 'lamb'"),
        ({"optimizer": "timm/adahessian"}, "second derivatives"),
        ({"optimizer": "timm/sgdw", "betas": (0.5, 0.5)}, "set training.betas to null"),
        ({"optimizer": "timm/bnbadam"}, "timm's optimizer bnbadam cannot be used"),
    ],
    ids=str,
)
def test_what_timm_cannot_give_is_one_line(recipe: dict[str, Any], message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(UserError, match=message) as caught:
        create_optimizer(two_layers(), TrainingSettings(**recipe))
    assert "\n" not in str(caught.value)


def test_without_timm_its_optimizers_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    with pytest.raises(UserError, match=r"timm/lamb needs timm: pip install"):
        create_optimizer(two_layers(), TrainingSettings(optimizer="timm/lamb"))


def test_what_cannot_be_captured_runs_eagerly_and_says_so(tiny: Path) -> None:
    pytest.importorskip("timm")
    step = training(tiny, optimizer="timm/lamb")
    assert not is_capturable(step.optimizer)
    engine, why = create_engine(step, "auto", torch.device("cuda"))
    assert (engine.name, why) == ("eager", "eager (timm's optimizers cannot be captured)")
