"""Layer-wise rates, frozen layers, gradient clipping and drop path, against timm and torch."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import ConvNeXt, VisionTransformer, get_model
from torchvision.models.convnext import CNBlockConfig

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import assemble, initial_model
from saliencymixplus.engine.optimizer import create_optimizer, parameter_groups, set_lr
from saliencymixplus.engine.step import Kind, TrainStep
from saliencymixplus.errors import UserError
from saliencymixplus.models import create_model
from saliencymixplus.models.layers import backbone, lr_scales
from saliencymixplus.settings import ModelSettings, RuntimeSettings, TrainingSettings
from saliencymixplus.training.launch import check
from saliencymixplus.training.signals import Interrupted
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, same_weights
from tests.train_apart import stop_at

CPU = torch.device("cpu")


def step_of(tiny: Path, method: str = "none", **recipe: Any) -> TrainStep:
    run = run_settings(method, batch_size=8, **recipe)
    return assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), CPU, say=str).step


def take(step: TrainStep, count: int, mix: bool = False) -> None:
    for index, inputs in enumerate(step.source.inputs(torch.arange(8 * count).split(8))):
        step.streams.start(1, index)
        step(inputs, Kind(mix))


@pytest.mark.parametrize(
    ("name", "head"),
    [("resnet8", "fc"), ("resnet18", "fc"), ("squeezenet1_1", "classifier.1"), ("vgg11", None)],
)
def test_the_head_is_the_last_layer(name: str, head: str | None) -> None:
    model = create_model(name, 7, 64)
    head = head or "classifier.6"
    kept = {id(p) for module in backbone(model) for p in module.parameters(False)}
    assert [n for n, p in model.named_parameters() if id(p) not in kept] == [
        f"{head}.weight",
        f"{head}.bias",
    ]


def test_the_rate_of_a_group_follows_the_schedule() -> None:
    model = create_model("resnet8", 5, 16)
    optimizer = create_optimizer(model, TrainingSettings(learning_rate=0.2, backbone_lr=0.1))
    rates = {g["lr_scale"]: float(g["lr"]) for g in optimizer.param_groups}
    assert rates == {0.1: pytest.approx(0.02), 1.0: pytest.approx(0.2)}
    set_lr(optimizer, 0.05)
    rates = {g["lr_scale"]: float(g["lr"]) for g in optimizer.param_groups}
    assert rates == {0.1: pytest.approx(0.005), 1.0: pytest.approx(0.05)}


def test_layers_of_timms_networks_decay_as_timm_does() -> None:
    optim = pytest.importorskip("timm.optim")
    model = create_model("timm/vit_tiny_patch16_224", 5, 32)
    settings = TrainingSettings(no_decay="norm_bias", weight_decay=0.1, layer_decay=0.7)
    theirs = optim.param_groups_layer_decay(
        model, 0.1, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.7
    )
    expected = {id(p): (g["weight_decay"], g["lr_scale"]) for g in theirs for p in g["params"]}
    found = {
        id(p): (g["weight_decay"], g["lr_scale"])
        for g in parameter_groups(model, settings)
        for p in g["params"]
    }
    assert found == expected


def test_layers_of_other_networks_are_their_top_level_modules() -> None:
    model = nn.Sequential(
        nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)
    )
    model.add_module("mixing_part", nn.Linear(2, 2))
    scales = lr_scales(model, 1.0, 0.5)
    assert scales == {
        "0.weight": 0.25,
        "0.bias": 0.25,
        "2.0.weight": 0.5,
        "2.0.bias": 0.5,
        "3.weight": 1.0,
        "3.bias": 1.0,
    }


def test_blocks_of_torchvisions_networks_are_layers() -> None:
    vit = VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=3)
    found = lr_scales(vit, 1.0, 0.5)
    expected = {
        "class_token": 0.125,
        "conv_proj.weight": 0.125,
        "encoder.pos_embedding": 0.125,
        "encoder.layers.encoder_layer_0.mlp.0.weight": 0.25,
        "encoder.layers.encoder_layer_1.ln_1.bias": 0.5,
        "encoder.ln.weight": 0.5,
        "heads.head.weight": 1.0,
    }
    assert {name: found[name] for name in expected} == expected
    convnext = ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], num_classes=3)
    found = lr_scales(convnext, 1.0, 0.5)
    expected = {
        "features.0.0.weight": 0.0625,
        "features.1.0.layer_scale": 0.125,
        "features.1.1.block.0.weight": 0.25,
        "features.2.1.weight": 0.5,
        "features.3.0.block.0.weight": 0.5,
        "classifier.0.weight": 1.0,
        "classifier.2.bias": 1.0,
    }
    assert {name: found[name] for name in expected} == expected
    assert found.keys() == dict(convnext.named_parameters()).keys()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("vit_b_16", "vit_base_patch16_224"),
        ("convnext_tiny", "convnext_tiny"),
        ("swin_t", "swin_tiny_patch4_window7_224"),
    ],
)
def test_torchvisions_layers_are_those_of_timm(ours: str, theirs: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        models = (get_model(ours, num_classes=10), timm.create_model(theirs, num_classes=10))
    sizes = []
    for model in models:
        scales = lr_scales(model, 1.0, 0.7)
        found = dict.fromkeys(sorted(scales.values()), 0)
        for name, parameter in model.named_parameters():
            found[scales[name]] += parameter.numel()
        sizes.append(found)
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) in (14, 20)


_TRAIN_MODE = {"saliency_mode": "train", "batch_norm": "updated"}


@pytest.mark.parametrize(
    ("method", "recipe"),
    [
        ("none", {}),
        ("saliencymixplus", {}),
        ("automix", {}),
        # The saliency pass in training mode: with the clean gradient in one, on its own, of the
        # average.
        ("saliencymixplus", {"options": _TRAIN_MODE | {"clean_gradient": 1.0}}),
        ("saliencymixplus", {"options": _TRAIN_MODE, "loss": "bce"}),
        ("saliencymixplus", {"options": _TRAIN_MODE | {"saliency_resolution": 0.5}}),
        (
            "saliencymixplus",
            {"options": _TRAIN_MODE | {"saliency_weights": "average"}, "weight_average": 0.9},
        ),
        ("saliencymixplus", {"options": _TRAIN_MODE, "accumulate": 2}),
    ],
)
def test_frozen_layers_stay_and_the_rest_learns(
    tiny: Path, method: str, recipe: dict[str, Any]
) -> None:
    step = step_of(tiny, method, **recipe)
    before = copy.deepcopy(step.local.state_dict())
    average = copy.deepcopy(step.ema.model.state_dict()) if step.ema else {}
    step.freeze(True)
    take(step, 2, mix=method != "none")
    changed = {
        name.split(".")[0]
        for name, value in step.local.state_dict().items()
        if not value.equal(before[name])
    }
    assert changed == ({"fc", "mixing_part"} if method == "automix" else {"fc"})
    if step.ema and method != "automix":
        for name, value in step.ema.model.state_dict().items():
            assert name.startswith("fc.") or value.equal(average[name]), name
    step.freeze(False)
    take(step, 2, mix=method != "none")
    assert all(
        not value.equal(before[name])
        for name, value in step.local.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )


def test_frozen_epochs_are_resumed_bit_for_bit(tiny: Path, tmp_path: Path) -> None:
    runtime = RuntimeSettings(device="cpu", tracker="none", progress="none")
    settings = run_settings("cutmix", freeze_epochs=2, backbone_lr=0.3, clip_grad_norm=0.5)
    train(settings, tiny, tmp_path / "whole", runtime)
    with pytest.raises(Interrupted):
        train(settings, tiny, tmp_path / "resumed", runtime, stop_at(2, 1))
    train(settings, tiny, tmp_path / "resumed", runtime)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed", "last")
    plain = run_settings("cutmix", backbone_lr=0.3, clip_grad_norm=0.5)
    train(plain, tiny, tmp_path / "plain", runtime)
    assert not same_weights(tmp_path / "whole", tmp_path / "plain", "last")


def test_gradients_are_clipped_as_torch_does(tiny: Path) -> None:
    step, other = step_of(tiny, clip_grad_norm=0.01), step_of(tiny)
    take(step, 1)
    take(other, 1)
    gradients = [p.grad for p in other.local.parameters() if p.grad is not None]
    assert float(nn.utils.get_total_norm(gradients)) > 0.01
    nn.utils.clip_grad_norm_(other.local.parameters(), 0.01)
    for ours, theirs in zip(step.local.parameters(), other.local.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_drop_path_reaches_the_network_or_is_refused() -> None:
    timm = pytest.importorskip("timm.layers")
    vit = create_model("timm/vit_tiny_patch16_224", 5, 32, drop_path=0.3)
    dropped = [m.drop_prob for m in vit.modules() if isinstance(m, timm.DropPath)]
    assert max(dropped) == pytest.approx(0.3)
    net = create_model("efficientnet_b0", 5, 64, drop_path=0.4)
    rates = [m.p for m in net.modules() if type(m).__name__ == "StochasticDepth"]
    assert 0.3 < max(rates) <= 0.4
    for name in ("resnet8", "resnet18", "timm/vgg11"):
        with pytest.raises(UserError, match="has no drop path"):
            create_model(name, 5, 64, drop_path=0.1)


def test_zero_init_residual_reaches_the_network_or_is_refused(tiny: Path) -> None:
    meta = load_prepared(tiny).meta
    plain = run_settings("none").model_copy(update={"model": ModelSettings(name="resnet18")})
    zero = ModelSettings(name="resnet18", zero_init_residual=True)
    given = initial_model(plain, meta, (16, 16)).state_dict()
    found = initial_model(plain.model_copy(update={"model": zero}), meta, (16, 16)).state_dict()
    for name, value in given.items():
        expected = torch.zeros_like(value) if name.endswith("bn2.weight") else value
        assert torch.equal(found[name], expected), name
    small = ModelSettings(name="resnet8", zero_init_residual="auto")
    check(plain.model_copy(update={"model": small}), RuntimeSettings(device="cpu"), None)
    small = ModelSettings(name="resnet8", zero_init_residual=True)
    with pytest.raises(UserError, match="not for resnet8: set it to false"):
        check(plain.model_copy(update={"model": small}), RuntimeSettings(device="cpu"), None)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"schedule": "one_cycle", "warmup_epochs": 1}, "its own warm-up"),
        ({"warmup_start_lr": 0.01}, "needs `warmup_epochs`"),
        ({"warmup_start_lr": 0.2, "warmup_epochs": 1}, "not be above `learning_rate`"),
        ({"min_lr": 0.01}, "only for `schedule: cosine`"),
        ({"min_lr": 0.2, "schedule": "cosine"}, "not be above `learning_rate`"),
        ({"layer_decay": 0.5, "backbone_lr": 0.5}, "not both"),
        ({"freeze_epochs": 200}, "fewer than `epochs`"),
    ],
)
def test_what_contradicts_itself_is_refused(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**recipe)


@pytest.mark.parametrize("method", ["saliencymixplus", "puzzlemix", "snapmix", "rmix"])
def test_a_head_of_zeros_trains_and_mixes_without_saliency_at_first(
    tiny: Path, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "ten_classes.safetensors"
    save_file(create_model("resnet8", 10, 16).state_dict(), path)
    model = ModelSettings(name="resnet8", weights=str(path), head_init="zero")
    run = run_settings(method, batch_size=8).model_copy(update={"model": model})
    step = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), CPU, say=str).step
    head = step.local.get_parameter("fc.weight")
    assert not head.any()
    take(step, 2, mix=True)
    assert head.any()
    assert all(p.isfinite().all() for p in step.local.parameters())
