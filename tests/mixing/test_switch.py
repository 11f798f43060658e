"""A switch draws members by probability and mixes each batch like the member alone."""

import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from saliencymixplus import mixing
from saliencymixplus.mixing import MixedBatch, Switch, create

MEMBERS = {"cutmix": 0.7, "mixup": {"probability": 0.2, "alpha": 0.2}, "none": 0.1}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {"images": torch.rand(6, 3, 8, 8), "labels": torch.arange(6) % 5}


def same(ours: MixedBatch, theirs: MixedBatch) -> bool:
    return (
        torch.equal(ours.images, theirs.images)
        and torch.equal(ours.lam, theirs.lam)
        and torch.equal(ours.index_b, theirs.index_b)
    )


def test_members_come_as_often_as_their_probability() -> None:
    switch = Switch(MEMBERS)
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(switch.choose(generator) for _ in range(4000))
    assert [member.method for member in switch.members] == ["cutmix", "mixup", "none"]
    for index, probability in enumerate((0.7, 0.2, 0.1)):  # within four standard deviations
        expected = 4000 * probability
        assert abs(drawn[index] - expected) < 4 * (expected * (1 - probability)) ** 0.5


def test_each_batch_is_the_members_own_with_the_same_draws() -> None:
    switch, seen = Switch(MEMBERS), set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        mixed = switch(**batch(), generator=generator)
        generator.manual_seed(seed)
        chosen = switch.choose(generator)
        assert mixed.member == chosen
        assert same(mixed, switch.members[chosen](**batch(), generator=generator))
        drawn = switch.draw(6, 8, 8, generator=torch.Generator().manual_seed(seed))
        assert same(mixed, switch(**batch(), draw=drawn.to("cpu")))
        seen.add(chosen)
    assert seen == {0, 1, 2}


def test_a_whole_step_is_the_members_own() -> None:
    switch = Switch({"cutmix": 0.5, "saliencymixplus-published": 0.5})
    ours, theirs = network(), network()
    seen = set()
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        step = mixing.backward(ours, switch, **batch(), generator=generator)
        generator.manual_seed(seed)
        chosen = switch.choose(generator)
        alone = mixing.backward(theirs, switch.members[chosen], **batch(), generator=generator)
        assert step.mixed is not None
        assert alone.mixed is not None
        assert same(step.mixed, alone.mixed)
        assert step.mixed.member == chosen
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)  # type: ignore[arg-type]
        seen.add(chosen)
    assert seen == {0, 1}


def test_the_order_of_members_is_of_no_consequence() -> None:
    one, other = Switch({"cutmix": 0.4, "mixup": 0.6}), Switch({"mixup": 0.6, "cutmix": 0.4})
    assert mixing.resolve_options("switch", {"members": {"mixup": 0.6, "cutmix": 0.4}}) == (
        mixing.resolve_options("switch", {"members": {"cutmix": 0.4, "mixup": 0.6}})
    )
    for seed in range(5):
        first, second = (
            switch(**batch(), generator=torch.Generator().manual_seed(seed))
            for switch in (one, other)
        )
        assert same(first, second)


def test_recorded_options_make_the_same_switch() -> None:
    options = mixing.resolve_options("switch", {"members": MEMBERS})
    assert options["members"]["mixup"]["alpha"] == 0.2
    again = create("switch", **options)
    assert mixing.resolve_options("switch", options) == options
    assert repr(again) == repr(Switch(MEMBERS))


def test_what_any_member_needs_is_needed() -> None:
    switch = Switch({"saliencymix": 0.25, "cutmix-mask": 0.25, "saliencymixplus": 0.5})
    assert switch.needs_model
    assert switch.needs_saliency
    assert switch.needs_masks
    assert not Switch({"cutmix": 0.5, "mixup": 0.5}).needs
    assert mixing.passes(Switch({"cutmix": 0.5, "saliencymixplus": 0.5})) == 1.5
    # The published variant's clean gradient takes a pass of its own with another loss.
    published = Switch({"cutmix": 0.5, "saliencymixplus-published": 0.5})
    assert mixing.passes(published) == 1.25
    assert mixing.passes(published, criterion=mixing.Criterion("bce")) == 1.75


def test_stored_maps_replace_no_gradient_saliency_beside_a_member_that_takes_them() -> None:
    switch = Switch({"saliencymix": 0.5, "saliencymixplus": 0.5})
    maps, model = torch.rand(6, 8, 8), network()
    seen = {}
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        mixed = switch(**batch(), generator=generator, model=model, saliency=maps)
        assert mixed.saliency is not None
        seen[mixed.member] = torch.equal(mixed.saliency, maps)
    assert seen == {0: True, 1: False}


def test_a_forward_pass_of_a_members_own_is_taken() -> None:
    """Manifold Mixup mixes inside the network, CutMix before it."""
    switch = Switch({"cutmix": 0.5, "manifold": {"probability": 0.5, "layers": "1"}})
    model = network()
    for seed in range(6):
        mixed = switch(**batch(), generator=torch.Generator().manual_seed(seed))
        member = switch.members[mixed.member]
        output, mixed = switch.forward(model, mixed)
        expected, _ = member.forward(model, mixed)
        assert torch.equal(output, expected)
        assert torch.equal(switch.loss(mixed, output), member.loss(mixed, output))


def test_it_pickles_compiles_and_collates() -> None:
    switch = Switch(MEMBERS)
    generator = torch.Generator().manual_seed(3)
    expected = switch(**batch(), generator=generator)
    copied = pickle.loads(pickle.dumps(switch))  # noqa: S301
    assert same(copied(**batch(), generator=generator.manual_seed(3)), expected)
    compiled = pickle.loads(pickle.dumps(switch.compiled(backend="eager")))  # noqa: S301
    assert same(compiled(**batch(), generator=generator.manual_seed(3)), expected)
    data = [(image, int(label)) for image, label in zip(*batch().values(), strict=True)]
    (collated,) = DataLoader(
        data,  # type: ignore[arg-type]
        6,
        collate_fn=mixing.collate(switch, generator=generator.manual_seed(3)),
    )
    assert same(collated, expected)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "two or more members"),
        ({"cutmix": 1.0}, "two or more members"),
        (["cutmix", "mixup"], "two or more members"),
        ({"cutmix": 0.5, "mixup": 0.4}, "sum to 0.9, not to 1"),
        ({"cutmix": 0.5, "mixup": -0.5}, "mixup: a probability is above 0 and at most 1, not -0.5"),
        ({"cutmix": 0.5, "mixup": "half"}, "mixup: a probability .* not 'half'"),
        ({"cutmix": 0.5, "mixup": {"alpha": 1.0}}, "mixup: a probability .* not None"),
        ({"cutmix": 0.5, "mixpu": 0.5}, "mixpu: no mixing method .* did you mean 'mixup'"),
        (
            {"cutmix": 0.5, "mixup": {"probability": 0.5, "alhpa": 1.0}},
            "mixup: no option .* did you mean 'alpha'",
        ),
        (
            {"cutmix": 0.5, "both": {"probability": 0.5, "method": "switch"}},
            "both: a switch cannot be a member",
        ),
        ({"cutmix": 0.5, "automix": 0.5}, "automix trains a module of its own"),
    ],
)
def test_what_is_wrong_with_it_is_said(members: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create("switch", members=members)


def test_an_option_of_a_member_belongs_to_the_member() -> None:
    with pytest.raises(ValueError, match="no option is called 'alpha'"):
        create("switch", members={"cutmix": 0.5, "mixup": 0.5}, alpha=0.2)
