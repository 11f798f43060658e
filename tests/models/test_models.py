"""Networks against the papers' parameter counts, and every torchvision classifier by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.regnet import BlockParams

from saliencymixplus.errors import UserError
from saliencymixplus.models import create_model, model_names, parameter_count
from saliencymixplus.models.layers import meta_logits
from saliencymixplus.models.small_images import NETWORKS, Block, PreActBlock

# He et al. 2016, table 6, in millions.
PUBLISHED = {"resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85}


@pytest.mark.parametrize(("name", "millions"), [*PUBLISHED.items(), ("resnet110", 1.7)])
def test_cifar_resnets_have_the_published_number_of_parameters(name: str, millions: float) -> None:
    with torch.device("meta"):
        count = parameter_count(create_model(name, 10, 32))
    assert round(count / 1e6, 2 if millions < 1 else 1) == millions


# Zagoruyko and Komodakis 2016, table 4; Xie et al. 2017, table 7 and its authors' code; the mixup
# papers' PreActResNet-18. In millions, for 10 classes.
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("wrn16_8", 11.0),
        ("wrn28_8", 23.4),
        ("wrn28_10", 36.5),
        ("preact_resnet18", 11.2),
        ("resnext29_32x4d", 4.8),
    ],
)
def test_networks_of_the_cifar_tables(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = create_model(name, 10, 32)
    assert round(parameter_count(model) / 1e6, 1) == millions
    model = model.to_empty(device="cpu")
    first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.stride == (1, 1)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_pre_activation_blocks_sum_unnormalised_paths() -> None:
    block = PreActBlock(4, 4, 1)
    with torch.no_grad():
        block.conv2.weight.zero_()
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)  # no norm and no ReLU on the shortcut or after the sum


def test_timm_networks_by_name() -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        assert create_model("timm/resnet10t", 7, 32)(
            torch.zeros(2, 3, 32, 32, device="meta")
        ).shape == (2, 7)
        vit = create_model("timm/vit_tiny_patch16_224", 7, (64, 32))
        assert vit(torch.zeros(2, 3, 64, 32, device="meta")).shape == (2, 7)
    with pytest.raises(UserError, match="timm has no model called 'resnet10q'"):
        create_model("timm/resnet10q", 7, 32)
    with pytest.raises(UserError, match="small-image stem"):
        create_model("timm/resnet10t", 7, 32, stem="small")


def test_shortcut_a_subsamples_and_pads_with_zeros() -> None:
    x = torch.randn(2, 16, 8, 8)
    shortcut = Block(16, 32, 2).shortcut(x)
    assert torch.equal(shortcut[:, :16], x[:, :, ::2, ::2])
    assert not shortcut[:, 16:].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", model_names())
def test_every_classifier_builds_at_its_usual_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 299 if name == "inception_v3" else 224
    usual = BlockParams.from_init_params

    def widths(*given: Any, **named: Any) -> BlockParams:
        with torch.device("cpu"):  # RegNet computes its widths with tensors
            return usual(*given, **named)

    monkeypatch.setattr(BlockParams, "from_init_params", widths)
    with torch.device("meta"):
        create_model(name, 7, side)  # checks the logits' shape itself


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "efficientnet_v2_s",
        "mnasnet0_5",
        "shufflenet_v2_x0_5",
        "squeezenet1_0",
        "squeezenet1_1",
        "vgg11_bn",
        "alexnet",
        "googlenet",
        "convnext_tiny",
    ],
)
def test_small_stem_keeps_the_resolution(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, 5, 32, stem="small")
    first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.stride == (1, 1)
    assert first.kernel_size == (3, 3)


def test_auto_stem_is_small_up_to_64_pixels() -> None:
    with torch.device("meta"):
        small, standard = create_model("resnet18", 5, 64), create_model("resnet18", 5, 65)
    assert small.conv1.kernel_size == (3, 3)
    assert isinstance(small.maxpool, torch.nn.Identity)
    assert standard.conv1.kernel_size == (7, 7)
    with torch.device("meta"):
        create_model("vit_b_16", 5, 32)  # no small stem: auto takes the standard one


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_zero_init_residual_is_torchvisions(name: str) -> None:
    def drawn(build: Callable[[], torch.nn.Module]) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return build().state_dict()

    zero = drawn(lambda: create_model(name, 5, 96, zero_init_residual="auto"))
    one = drawn(lambda: create_model(name, 5, 96))
    for zero_init, ours in ((True, zero), (False, one)):
        theirs = drawn(
            lambda zero_init=zero_init: get_model(  # type: ignore[misc]
                name, num_classes=5, zero_init_residual=zero_init
            )
        )
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    differing = {key for key, value in zero.items() if not torch.equal(value, one[key])}
    last = "bn2" if name == "resnet18" else "bn3"
    assert differing == {key for key in one if key.endswith(f"{last}.weight")}
    assert not any(zero[key].any() for key in differing)


def test_timms_resnets_start_at_zero_anyway() -> None:
    pytest.importorskip("timm")
    ours = create_model("resnet18", 5, 32, zero_init_residual=True).state_dict()
    theirs = create_model("timm/resnet18", 5, 32).state_dict()
    last = [key for key in ours if key.endswith("bn2.weight")]
    assert len(last) == 8
    for key in last:
        assert not ours[key].any()
        assert not theirs[key].any()
    with pytest.raises(UserError, match="timm's ResNets start at zero anyway"):
        create_model("timm/resnet18", 5, 32, zero_init_residual=True)


@pytest.mark.parametrize("name", [name for name in model_names() if "resne" in name])
def test_every_torchvision_resnet_has_zero_init_residual(name: str) -> None:
    with torch.device("meta"):
        if name in NETWORKS:
            with pytest.raises(UserError, match="set it to false"):
                create_model(name, 5, 32, zero_init_residual=True)
        else:
            create_model(name, 5, 32, zero_init_residual=True)


@pytest.mark.parametrize("name", ["resnet8", "wrn16_8", "resnext29_32x4d", "vgg11_bn"])
def test_other_networks_have_no_zero_init_residual(name: str) -> None:
    with pytest.raises(UserError, match=f"torchvision's ResNets, not for {name}: set it to false"):
        create_model(name, 5, 32, zero_init_residual=True)
    torch.manual_seed(3)
    found = create_model(name, 5, 32, zero_init_residual="auto").state_dict()
    torch.manual_seed(3)
    plain = create_model(name, 5, 32).state_dict()
    assert all(torch.equal(found[key], value) for key, value in plain.items())


def test_a_module_with_two_names_keeps_its_weights() -> None:
    """As the position encodings that the blocks of timm's CoaT share."""
    shared = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = shared.weight
    front = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(front, shared, shared, tied)
    expected = model(images := torch.randn(2, 3, 8, 8))
    assert meta_logits(model, 2, (8, 8)).is_meta
    assert torch.equal(model(images), expected)


def test_gives_logits() -> None:
    model = create_model("resnet18", 5, (32, 24))
    assert model(torch.randn(2, 3, 32, 24)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "size", "stem", "says"),
    [
        ("resnet_50", 32, "auto", "did you mean 'resnet50'"),
        ("vit_b_16", 224, "small", "no small-image stem"),
        ("vit_b_16", 40, "auto", "cannot take images of 40×40"),
        ("vit_b_16", (32, 64), "auto", "square images only"),
        ("inception_v3", 32, "auto", "cannot take images of 32×32"),
        ("maxvit_t", 100, "auto", "cannot take images of 100×100"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(
    name: str, size: int | tuple[int, int], stem: str, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught, torch.device("meta"):
        create_model(name, 5, size, stem)
    assert "\n" not in str(caught.value)
