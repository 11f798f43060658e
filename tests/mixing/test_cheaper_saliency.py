"""Saliency passes on part of the batch, on some steps only, and without weight gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from saliencymixplus import mixing
from saliencymixplus.mixing import draws

CPU = torch.device("cpu")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )


def batch(count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(count, 3, 10, 14, generator=generator)
    return images, torch.randint(4, (count,), generator=generator)


@pytest.mark.parametrize(
    ("batch_size", "share", "expected"),
    [(8, 1.0, 8), (8, 0.5, 4), (8, 0.05, 2), (7, 0.5, 4), (8, 0.9, 8), (2, 0.05, 2), (1, 0.5, 1)],
)
def test_how_many_images_get_a_map(batch_size: int, share: float, expected: int) -> None:
    assert draws.mapped_size(batch_size, share) == expected


def test_partners_stay_among_those_with_a_map() -> None:
    for seed in range(20):
        numbers = draws.RandomNumbers(torch.Generator().manual_seed(seed), CPU)
        partner = draws.partners(9, "full", numbers, fraction=0.5).tolist()
        for first, last in ((0, 4), (4, 9)):
            place, visited = first, []
            for _ in range(last - first):
                visited.append(place)
                place = partner[place]
            assert sorted(visited) == list(range(first, last))


def test_a_share_of_the_batch_is_mapped_and_the_rest_is_cutmix() -> None:
    images, labels = batch()
    seen: list[int] = []
    model = network()
    model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    mixer = mixing.create("saliencymixplus", saliency_fraction=0.5)
    draw = mixer.draw(8, 10, 14, generator=torch.Generator().manual_seed(1))
    mixed = mixer(images, labels, model=model, draw=draw)
    assert seen == [4]
    expected, _ = mixing.gradient_saliency(network(), images[:4], labels[:4])
    assert mixed.saliency is not None
    torch.testing.assert_close(mixed.saliency[:4], expected)
    assert not mixed.saliency[4:].any()
    assert (mixed.lam[:4] - mixed.area_lam[:4]).abs().max() > 0.01
    torch.testing.assert_close(mixed.lam[4:], mixed.area_lam[4:])
    cutmix = mixing.create("cutmix", box="sample", box_size="exact")(images, labels, draw=draw)
    assert torch.equal(mixed.images[4:], cutmix.images[4:])


def test_a_share_needs_full_pairs() -> None:
    with pytest.raises(ValueError, match="pairs: full"):
        mixing.create("saliencymixplus", saliency_fraction=0.5, pairs="half")


def test_an_unguided_step_takes_no_saliency_pass() -> None:
    images, labels = batch()
    mixer = mixing.create("saliencymixplus")
    draw = mixer.draw(8, 10, 14, generator=torch.Generator().manual_seed(1))
    seen: list[int] = []
    model = network()
    model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    step = mixing.backward(model, mixer, images, labels, draw=draw, use_saliency=False)
    assert seen == [8]
    other = network()
    cutmix = mixing.create("cutmix", box="sample", box_size="exact")
    expected = mixing.backward(other, cutmix, images, labels, draw=draw)
    torch.testing.assert_close(step.loss, expected.loss)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_method_that_looks_at_feature_maps_does_so_in_any_case() -> None:
    """Without maps, the cells that it cuts out would be the first ones, row by row."""
    images, labels = batch()
    mixer = mixing.create("attentivemix")
    draw = mixer.draw(8, 10, 14, generator=torch.Generator().manual_seed(1))
    steps = [
        mixing.backward(network(), mixer, images, labels, draw=draw, use_saliency=use_saliency)
        for use_saliency in (True, False)
    ]
    assert torch.equal(steps[0].mixed.images, steps[1].mixed.images)
    assert mixing.passes(mixer, use_saliency=True) == mixing.passes(mixer, use_saliency=False)


@pytest.mark.parametrize(
    ("method", "options", "use_saliency", "expected"),
    [
        ("none", {}, True, 1),
        ("cutmix", {}, True, 1),
        ("cutmix", {"clean_gradient": 1.0}, True, 2),
        ("saliencymixplus", {}, True, 2),
        ("saliencymixplus", {}, False, 1),
        ("saliencymixplus", {"clean_gradient": 1.0}, True, 3),
        ("saliencymixplus", {"clean_gradient": 1.0, "saliency_mode": "train"}, True, 2),
        ("saliencymixplus", {"variant": "published"}, True, 1.5),
        ("saliencymixplus", {"saliency_resolution": 0.5}, True, 1.25),
        ("saliencymixplus", {"saliency_fraction": 0.5}, True, 1.5),
        ("saliencymixplus", {"position": "random", "label": "area"}, True, 1),
    ],
)
def test_passes_are_those_that_the_network_sees(
    method: str, options: dict[str, Any], use_saliency: bool, expected: float
) -> None:
    mixer = mixing.create(method, **options)
    assert mixing.passes(mixer, use_saliency=use_saliency) == expected
    pixels: list[int] = []
    model = network()
    model.register_forward_pre_hook(lambda module, given: pixels.append(given[0].numel()))
    images, labels = batch()
    mixing.backward(model, mixer, images, labels, use_saliency=use_saliency)
    assert sum(pixels) == expected * images.numel()


def test_the_input_only_network_is_the_same_on_the_same_memory() -> None:
    model = network().train()
    twin = mixing.input_only(model)
    images, labels = batch()
    for _ in range(2):  # as it was, and after a step that changed it
        expected, _ = mixing.gradient_saliency(model, images, labels, mode="train")
        found, _ = mixing.gradient_saliency(twin, images, labels, mode="train")
        assert torch.equal(found, expected)
        F.cross_entropy(model(images), labels).backward()
        torch.optim.SGD(model.parameters(), lr=0.5).step()
    assert all(p.grad is None and not p.requires_grad for p in twin.parameters())
    mixing.gradient_saliency(twin, images, labels, mode="train", batch_norm="updated")
    assert int(model[1].num_batches_tracked) == 3  # the twin's statistics are the model's own


def gradients_of_compiled(source: nn.Module) -> int:
    """How many gradients the backward graph of a compiled saliency pass computes."""
    torch._dynamo.reset()
    counts: list[int] = []

    def look(graph: torch.fx.GraphModule, example: Any) -> Any:
        (found,) = graph.graph.find_nodes(op="output")[0].args
        counts.append(sum(node is not None for node in found))
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph.forward),
                           bw_compiler=look)  # fmt: skip
    compiled: Any = torch.compile(source, backend=backend)
    found, _ = mixing.gradient_saliency(compiled, *batch())
    expected, _ = mixing.gradient_saliency(network(), *batch())
    torch.testing.assert_close(found, expected)
    (count,) = counts
    return count


def test_compiled_it_computes_the_gradient_of_the_images_alone() -> None:
    assert gradients_of_compiled(mixing.input_only(network())) == 1
    assert gradients_of_compiled(network()) > 1  # what it is there for


@pytest.mark.parametrize("options", [{}, {"saliency_mode": "train"}])
def test_a_step_with_both_networks_compiled_is_the_plain_step(options: dict[str, Any]) -> None:
    torch._dynamo.reset()
    images, labels = batch()
    mixer = mixing.create("saliencymixplus", **options)
    draw = mixer.draw(8, 10, 14, generator=torch.Generator().manual_seed(1))
    plain, bare = network(), network()
    compiled = torch.compile(bare, backend="aot_eager")
    salient = torch.compile(mixing.input_only(bare), backend="aot_eager")
    for _ in range(2):
        expected = mixing.backward(plain, mixer, images, labels, draw=draw)
        step = mixing.backward(
            compiled, mixer, images, labels, draw=draw, saliency_model=salient  # type: ignore[arg-type]
        )  # fmt: skip
        torch.testing.assert_close(step.loss, expected.loss)
        for model in (plain, bare):
            torch.optim.SGD(model.parameters(), lr=0.1).step()
    torch.testing.assert_close(dict(bare.state_dict()), dict(plain.state_dict()))
