"""Methods that use the network: what they read, leave unchanged, and refuse."""

import pytest
import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.methods import manifold, snapmix, transmix
from saliencymixplus.models import create_model


def batch(size: int = 4, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 3, side, side), torch.arange(size) % 3


def test_manifold_mixes_behind_the_drawn_layer_and_leaves_no_hook() -> None:
    torch.manual_seed(0)
    model = create_model("resnet8", 3, 16).eval()
    images, labels = batch()
    mixer = mixing.create("manifold", layers="layer1,layer2")
    stages = [nn.Identity(), model.layer1, model.layer2]
    seen = set()
    for seed in range(12):
        mixed = mixer(images, labels, generator=torch.Generator().manual_seed(seed))
        lam = mixed.lam[0]
        drawn = 0 if mixed.aux is None else int((mixed.aux != 1).nonzero().sum() + 1)
        drawn = drawn if (mixed.aux != 1).any() else 0
        seen.add(drawn)

        def mix(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            return lam * output + (1 - lam) * output[mixed.index_b]  # noqa: B023

        handle = stages[drawn].register_forward_hook(mix)
        expected = model(stages[0](images))
        handle.remove()
        logits, _ = mixer.forward(model, mixed)
        torch.testing.assert_close(logits, expected)
    assert seen == {0, 1, 2}
    assert not any(module._forward_hooks for module in model.modules())
    mixer = mixing.create("manifold", layers="layer9")
    mixed = mixer(images, labels)
    with pytest.raises(NetworkError, match="the network has no 'layer9'; it has conv1, bn1"):
        mixer.forward(model, mixed)


def test_interpolation_keeps_half_precision() -> None:
    hidden = torch.randn(4, 2, 3, 3).bfloat16()
    found = manifold.interpolated(hidden, torch.tensor([0.3]), torch.tensor([1, 0, 3, 2]))
    assert found.dtype == torch.bfloat16


def test_class_activation_maps_of_a_network_are_its_logits() -> None:
    torch.manual_seed(0)
    model = create_model("resnet8", 3, 16).train()
    images, labels = batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mixer = mixing.create("snapmix")
    mixed = mixer(images, labels, model=model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # The mean of an unshifted class-activation map is the class's logit.
    features: list[torch.Tensor] = []
    handle = model.layer3.register_forward_hook(lambda m, i, output: features.append(output))
    logits = model.eval()(images)
    handle.remove()
    plain = torch.einsum("bd,bdhw->bhw", model.fc.weight[labels], features[0].relu())
    plain = plain + model.fc.bias[labels][:, None, None]
    torch.testing.assert_close(plain.mean((1, 2)), logits[torch.arange(4), labels])
    raised = nn.functional.interpolate(plain[:, None], (16, 16), mode="bilinear")[:, 0]
    raised = raised - raised.amin((1, 2), keepdim=True)
    assert mixed.saliency is not None
    torch.testing.assert_close(mixed.saliency, raised / raised.sum((1, 2), keepdim=True))
    with pytest.raises(NetworkError, match="no layer that returns a feature map"):
        mixer(images, labels, model=nn.Sequential(nn.Flatten(), nn.Linear(768, 3)))
    convolutional = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 3))
    with pytest.raises(NetworkError, match="one linear layer"):
        mixer(images, labels, model=convolutional)


def test_snapmix_weights_are_the_visible_class_activation() -> None:
    maps = torch.zeros(2, 4, 4)
    maps[0, 0, :2] = 0.5  # half of it in each of two pixels
    maps[1, 3, :] = 0.25
    box_a, box_b = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[3, 0, 4, 3]])
    different, equal = torch.tensor([False, False]), torch.tensor([True, True])
    lam = snapmix.activation_labels(maps[:1], maps[1:], box_a, box_b, different[:1])
    torch.testing.assert_close(torch.cat(lam), torch.tensor([0.5, 0.75]))
    lam = snapmix.activation_labels(maps[:1], maps[1:], box_a, box_b, equal[:1])
    torch.testing.assert_close(torch.cat(lam), torch.tensor([1.25, 1.25]))
    # Of a constant map the released code gets NaN, and so the area fractions for both labels.
    constant = torch.full((1, 4, 4), torch.nan)
    for pair in ((maps[:1], constant), (constant, maps[1:])):
        lam = snapmix.activation_labels(*pair, box_a, box_b, equal[:1])
        torch.testing.assert_close(torch.cat(lam), torch.tensor([15 / 16, 1 / 16]))


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "vit_b_16"])
def test_class_attention_equals_the_networks_own(name: str) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    model = create_model(name, 3, 32).eval()
    attention = transmix._last_attention(model)
    inputs: list[torch.Tensor] = []
    handle = attention.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    images, labels = batch(3, 32)
    with torch.no_grad():
        model(images)
        handle.remove()
        found = transmix.class_attention(attention, inputs[0])
        if isinstance(attention, nn.MultiheadAttention):
            _, whole = attention(inputs[0], inputs[0], inputs[0], need_weights=True)
        else:  # timm's attention without the fused kernel
            count, tokens, _ = inputs[0].shape
            joint = attention.qkv(inputs[0]).reshape(count, tokens, 3, attention.num_heads, -1)
            query, key, _ = joint.permute(2, 0, 3, 1, 4)
            whole = (query @ key.mT * attention.scale).softmax(-1).mean(1)
    torch.testing.assert_close(found, whole[:, 0, 1:])
    mixer = mixing.create("transmix")
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(5))
    _, labelled = mixer.forward(model, mixed)
    assert ((labelled.lam >= 0) & (labelled.lam <= 1)).all()
    assert not torch.equal(labelled.lam, mixed.lam)
    assert not attention._forward_pre_hooks


def test_transmix_refuses_networks_without_a_class_token() -> None:
    images, labels = batch()
    mixer = mixing.create("transmix")
    mixed = mixer(images, labels)
    with pytest.raises(NetworkError, match="vision transformers with a class token"):
        mixer.forward(create_model("resnet8", 3, 16), mixed)
