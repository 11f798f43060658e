"""Mixers within functional gradients."""

import warnings

import pytest
import torch
from torch import Tensor

from saliencymixplus import mixing
from tests.mixing.loops import Network, batch, given, seeded

METHODS = [name for name in mixing.METHODS if name != "none"]


def functional_loss(method: str, maps: dict[str, Tensor]) -> Tensor:
    """The gradient of the weights, by ``torch.func.grad`` of a mixed loss."""
    network, (images, labels) = Network(), batch()

    def loss(weights: dict[str, Tensor]) -> Tensor:
        mixed = seeded(mixing.create(method), images, labels, model=network, **maps)
        return mixed.loss(torch.func.functional_call(network, weights, (mixed.images,)))

    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    return torch.func.grad(loss)(weights)["layers.1.weight"]


@pytest.mark.parametrize("method", ["cutmix", "mixup", "saliencymixplus"])
def test_mixing_inside_a_functional_gradient(method: str) -> None:
    images, labels = batch()
    maps = given(mixing.create(method))
    network = Network()
    mixed = seeded(mixing.create(method), images, labels, **maps)
    mixed.loss(network(mixed.images)).backward()
    assert network.layers[1].weight.grad is not None
    torch.testing.assert_close(functional_loss(method, maps), network.layers[1].weight.grad)


def test_a_saliency_pass_inside_a_functional_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match=r"inside torch\.func\.grad .* pass saliency="):
        functional_loss("saliencymixplus", {})


@pytest.mark.parametrize("method", METHODS)
def test_gradients_flow_through_mixed_images_if_asked(method: str) -> None:
    mixer = mixing.create(method)
    images, labels = batch()
    images.requires_grad_()
    extra = given(mixer)
    assert not seeded(mixer, images, labels, **extra).images.requires_grad
    mixed = seeded(mixer, images, labels, differentiable=True, **extra)
    mixed.images.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert mixed.images.detach().equal(seeded(mixer, images, labels, **extra).images)


def test_gradients_of_a_pasted_box_are_where_the_pixels_come_from() -> None:
    images, labels = batch()
    images.requires_grad_()
    mixed = seeded(mixing.create("cutmix"), images, labels, differentiable=True)
    mixed.images.sum().backward()
    assert mixed.mask is not None
    kept, taken = 1 - mixed.mask, torch.zeros_like(mixed.mask)
    taken[mixed.index_b] = mixed.mask
    torch.testing.assert_close(images.grad, (kept + taken).expand_as(images))


def test_a_clean_gradient_that_is_left_out_is_said_once_where_the_loss_is_taken() -> None:
    images, labels = batch()
    network, mixer = Network(), mixing.create("saliencymixplus-published")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            mixed = mixer(images, labels, model=network)
            mixed.loss(network(mixed.images)).backward()
    (warning,) = caught
    assert "clean_gradient: 1 is left out of this loss" in str(warning.message)
    assert warning.filename == __file__
