"""AutoMix: masks, images and the block's loss against loops, and where gradients flow."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.errors import NetworkError
from saliencymixplus.mixing.features import feature_map
from saliencymixplus.mixing.methods.automix import MixBlock
from saliencymixplus.models import create_model


class Network(nn.Module):
    """A network with a feature map of 2 × 3 cells for images of 8 × 12 pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer3 = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.layer3(images)).mean((2, 3)))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 3, 8, 12, generator=generator), torch.tensor([0, 1, 2, 3, 0])


def weights_by_loop(block: MixBlock, a: Tensor, b: Tensor) -> list[list[float]]:
    """Weight of b in each cell of a, from feature maps (C, h, w) of both."""
    _, rows, columns = a.shape
    query, bias = block.query.weight[:, :, 0, 0], block.query.bias
    value, offset = block.value.weight[0, :, 0, 0], block.value.bias
    assert bias is not None
    assert offset is not None
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    found = [[0.0] * columns for _ in range(rows)]
    for r, c in cells:
        asked = query @ a[:, r, c] + bias
        scores = [
            float(asked @ (query @ b[:, i, j] + bias)) / math.sqrt(len(bias)) for i, j in cells
        ]
        total = sum(math.exp(score) for score in scores)
        shown = sum(
            math.exp(score) / total * float(value @ b[:, i, j] + offset)
            for score, (i, j) in zip(scores, cells, strict=True)
        )
        found[r][c] = 1 / (1 + math.exp(-shown))
    return found


def mixed_by_loop(a: Tensor, b: Tensor, weights: list[list[float]]) -> Tensor:
    mixed = torch.empty_like(a)
    _, height, width = a.shape
    for r in range(height):
        for c in range(width):
            w = weights[r * len(weights) // height][c * len(weights[0]) // width]
            mixed[:, r, c] = (1 - w) * a[:, r, c] + w * b[:, r, c]
    return mixed


@pytest.mark.parametrize("lam0", [0.3, 0.05, 0.95])
@pytest.mark.parametrize("method", ["automix"])
def test_a_loop_over_the_samples_gives_the_same(
    method: str, lam0: float, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    network, mixer = Network().eval(), mixing.create(method, clean_gradient=0.0)
    mixer.attach(network, images, seed=4)
    block = network.mixing_part
    assert isinstance(block, MixBlock)
    draw = mixing.Draw(
        torch.tensor([2, 0, 1, 4, 3]),
        lam0=torch.tensor([lam0], dtype=torch.float64),
        lam1=torch.tensor([0.9], dtype=torch.float64),
        noise=torch.tensor([[0.5], [-1.0], [2.0], [0.1], [0.3]]),
    )
    mixed = mixer(images, labels, model=network, draw=draw)
    with torch.no_grad():
        features = network.layer3(images)
        for i, j in enumerate(draw.index_b.tolist()):
            weights = weights_by_loop(block, features[i], features[j])
            if lam0 <= 0.08 or 1 - lam0 <= 0.08:
                weights = [[1 - lam0] * 3] * 2
            expected = mixed_by_loop(images[i], images[j], weights)
            torch.testing.assert_close(mixed.images[i], expected, atol=1e-5, rtol=0)
    assert mixed.lam.tolist() == pytest.approx([lam0] * 5)

    # The block's own pairs are those of the sorted keys, its λ is the second one.
    partners, losses, means = [1, 3, 4, 0, 2], [], []
    with torch.no_grad():
        for i, j in enumerate(partners):
            weights = weights_by_loop(block, features[i], features[j])
            logits = network(mixed_by_loop(images[i], images[j], weights)[None])
            each = [float(F.cross_entropy(logits, labels[k : k + 1])) for k in (i, j)]
            losses.append(0.9 * each[0] + 0.1 * each[1])
            means.append(sum(map(sum, weights)) / 6)
    away = abs(1 - sum(means) / 5 - 0.9)
    expected_loss = sum(losses) / 5 + 0.1 * max(0.0, away - 0.1)
    loss = mixer.part_loss(network, network, images, labels, draw)
    assert float(loss.detach()) == pytest.approx(expected_loss, abs=1e-5)


def test_the_block_looks_through_the_moving_average_as_it_is_evaluated() -> None:
    """Also through the twin that a training makes of it, which is in training mode."""
    images, labels = torch.randn(5, 3, 16, 16), torch.arange(5)
    network, mixer = create_model("resnet8", 5, 16), mixing.create("automix")
    mixer.attach(network, images)
    average = copy.deepcopy(network).requires_grad_(False)
    average(images)  # statistics other than those at first
    before = {name: value.clone() for name, value in average.eval().state_dict().items()}
    draw = mixer.draw(5, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = mixer.part_loss(network, average, images, labels, draw)
    twin = mixing.input_only(average).train()
    assert mixer.part_loss(network, twin, images, labels, draw).equal(expected)
    mixing.backward(network, mixer, images, labels, saliency_model=twin, draw=draw)
    assert all(layer.training for layer in twin.modules())
    assert all(torch.equal(value, before[name]) for name, value in average.state_dict().items())


def test_the_masks_are_those_of_the_block_itself_not_of_its_average() -> None:
    """Only what looks at the images is averaged, as released."""
    images, labels = torch.randn(5, 3, 16, 16), torch.arange(5)
    network, mixer = create_model("resnet8", 5, 16), mixing.create("automix")
    mixer.attach(network, images)
    average = copy.deepcopy(network).requires_grad_(False).eval()
    with torch.no_grad():
        network.mixing_part.value.bias.add_(3.0)  # the average still has none of this
        draw = replace(
            mixer.draw(5, 16, 16, generator=torch.Generator().manual_seed(2)),
            lam0=torch.tensor([0.4], dtype=torch.float64),
        )
        features = feature_map(average, images, "layer3")
        expected = network.mixing_part(features, features[draw.index_b])
    step = mixing.backward(network, mixer, images, labels, saliency_model=average, draw=draw)
    assert step.mixed is not None
    assert step.mixed.mask is not None
    torch.testing.assert_close(step.mixed.mask[:, 0, ::4, ::4], expected)
    with torch.no_grad():
        averaged = average.mixing_part(features, features[draw.index_b])
    assert (averaged - expected).abs().min() > 0.1


def test_the_block_learns_from_its_own_loss_and_the_network_from_its_own(
    batch: tuple[Tensor, Tensor],
) -> None:
    images, labels = batch
    network, mixer = Network(), mixing.create("automix")
    mixer.attach(network, images)
    average = copy.deepcopy(network).requires_grad_(False).eval()
    block = network.mixing_part
    assert isinstance(block, MixBlock)
    draw = mixer.draw(5, 8, 12, generator=torch.Generator().manual_seed(2))
    mixing.backward(network, mixer, images, labels, saliency_model=average, draw=draw)
    assert all(p.grad is None for p in average.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    loss = mixer.part_loss(network, average, images, labels, draw)
    wanted = torch.autograd.grad(loss, [*block.parameters()])
    for parameter, gradient in zip(block.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)
    # Without the block's loss the network's gradients are the same.
    other = Network()
    mixed = mixer(images, labels, model=average, draw=draw)
    with pytest.warns(UserWarning, match="clean_gradient"):
        loss = mixed.loss(other(mixed.images))
    loss.backward()
    clean = Network()
    F.cross_entropy(clean(images), labels).backward()
    trained = [p for name, p in network.named_parameters() if "mixing_part" not in name]
    for found, one, two in zip(trained, other.parameters(), clean.parameters(), strict=True):
        assert found.grad is not None
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(found.grad, one.grad + two.grad)


def test_the_block_depends_on_its_seed_alone(batch: tuple[Tensor, Tensor]) -> None:
    images, _ = batch
    blocks = []
    for seed in (1, 1, 2):
        network = Network()
        mixing.create("automix").attach(network, images, seed=seed)
        blocks.append([*network.mixing_part.parameters()])
        torch.rand(1)
    first, again, other = blocks
    assert all(p.equal(q) for p, q in zip(first, again, strict=True))
    assert not first[0].equal(other[0])


def test_a_step_without_the_block_says_what_to_call(batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"call mixer.attach\(model, images\)"):
        mixing.backward(Network(), mixing.create("automix"), *batch, saliency_model=Network())


@pytest.mark.parametrize(
    ("layer", "message"),
    [("layer9", "no 'layer9'; it has layer3, norm, head"), ("head", "returns no feature map")],
)
def test_a_network_that_does_not_fit_is_named(
    layer: str, message: str, batch: tuple[Tensor, Tensor]
) -> None:
    images, labels = batch
    with pytest.raises(NetworkError, match=message):
        mixing.create("automix", layer=layer)(images, labels, model=Network())
