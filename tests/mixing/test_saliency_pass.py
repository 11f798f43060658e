"""The saliency pass of a step: its gradient, modes and buffers."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from saliencymixplus import mixing
from saliencymixplus.mixing.saliency import pass_mode
from tests.mixing.networks import batch, network, run


class Counting(nn.Module):
    """Counts its own forward passes in a buffer that is no batch-norm statistic."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x


def test_saliency_is_the_summed_input_gradient() -> None:
    images, labels = batch()
    model = network().eval()
    inputs = images.clone().requires_grad_()
    F.cross_entropy(model(inputs), labels).backward()
    saliency, _ = mixing.gradient_saliency(network().train(), images, labels)
    torch.testing.assert_close(saliency, inputs.grad.abs().sum(1))
    mixed = mixing.create("saliencymixplus")(images, labels, model=network().train())
    torch.testing.assert_close(mixed.saliency, saliency)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_an_untouched_pass_leaves_no_trace(mode: Any) -> None:
    model = nn.Sequential(network()[:3], Counting(), network()[3:]).train()
    model[0][1].eval()  # a frozen batch norm stays frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    images, labels = batch()
    saliency, _ = mixing.gradient_saliency(model, images, labels, mode=mode, batch_norm="untouched")
    assert saliency.shape == (6, 10, 14)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [module.training for module in model.modules()] == training
    assert all(p.grad is None for p in model.parameters())


def test_untouched_train_mode_uses_the_batchs_statistics() -> None:
    model, images = network().train(), batch()[0]
    expected = network().train()
    torch.manual_seed(1)
    with pass_mode(model, "train", "untouched"):
        found = model(images)
    torch.manual_seed(1)
    torch.testing.assert_close(found, expected(images))


def test_a_published_step_leaves_a_frozen_batch_norm_alone() -> None:
    model = network().train()
    model[1].eval()
    before = {name: value.clone() for name, value in model[1].named_buffers()}
    run(mixing.create("saliencymixplus-published"), model)
    for name, value in model[1].named_buffers():
        assert torch.equal(value, before[name]), name


def test_modes_come_back_after_an_error() -> None:
    model = network().train()
    with pytest.raises(RuntimeError), pass_mode(model, "eval", "untouched"):
        raise RuntimeError
    assert all(module.training for module in model.modules())
    assert model[1].track_running_stats


def test_the_moving_average_gives_the_saliency() -> None:
    model = network()
    average = AveragedModel(network())
    with torch.no_grad():
        for p in average.parameters():
            p.mul_(1.3)
    mixer = mixing.create("saliencymixplus", saliency_weights="average")
    step = run(mixer, model, saliency_model=average)
    expected, _ = mixing.gradient_saliency(average, *batch())
    assert step.mixed is not None
    torch.testing.assert_close(step.mixed.saliency, expected)
    with pytest.raises(ValueError, match="average"):
        run(mixer, model)


def test_a_smaller_saliency_pass_gives_a_whole_map() -> None:
    sizes = []
    model = network()
    model.register_forward_pre_hook(lambda module, given: sizes.append(tuple(given[0].shape[2:])))
    mixer = mixing.create("saliencymixplus", saliency_resolution=0.5)
    step = run(mixer, model)
    assert sizes == [(5, 7), (10, 14)]
    assert step.mixed is not None
    assert step.mixed.saliency.shape == (6, 10, 14)


@pytest.mark.parametrize("soft", [False, True])
def test_trust_in_correct_images_drops_the_maps_of_the_others(soft: bool) -> None:
    images, _ = batch()
    model = network().eval()
    predicted = model(images).argmax(1)
    labels = torch.where(torch.arange(len(images)) % 2 == 0, predicted, (predicted + 1) % 4)
    given = nn.functional.one_hot(labels, 4).float() if soft else labels
    expected, _ = mixing.gradient_saliency(model, images, given)
    found, _ = mixing.gradient_saliency(model, images, given, trust="correct")
    assert expected.flatten(1).any(1).all()
    torch.testing.assert_close(found[::2], expected[::2])
    assert not found[1::2].any()
