"""Random draws: partners, λ₀, places; and batches from a data loader."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from saliencymixplus import mixing
from saliencymixplus.mixing import draws
from saliencymixplus.mixing.draws import RandomNumbers

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_full_partners_are_one_cycle(count: int) -> None:
    for seed in range(20):
        partner = draws.partners(count, "full", RandomNumbers(generator(seed), CPU)).tolist()
        place, visited = 0, []
        for _ in range(count):
            visited.append(place)
            place = partner[place]
        assert sorted(visited) == list(range(count))


def test_every_partner_is_equally_likely() -> None:
    numbers, count, trials = RandomNumbers(generator(), CPU), 5, 4000
    hits = torch.zeros(count, count)
    for _ in range(trials):
        partner = draws.partners(count, "full", numbers)
        hits[torch.arange(count), partner] += 1
    expected = trials / (count - 1)
    others = hits[~torch.eye(count, dtype=torch.bool)]
    assert (others - expected).abs().max() < 5 * math.sqrt(expected)
    assert hits.diagonal().sum() == 0


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 1), (7, 3), (8, 4)])
def test_half_pairs_the_first_half_with_the_second(count: int, size: int) -> None:
    partner = draws.partners(count, "half", RandomNumbers(generator(), CPU))
    assert sorted(partner.tolist()) == list(range(count // 2, count // 2 + size))


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_beta_has_its_moments(alpha: float) -> None:
    lam = RandomNumbers(generator(), CPU).beta(alpha, 20000)
    assert lam.dtype == torch.float64
    assert ((lam >= 0) & (lam <= 1)).all()
    variance = 1 / (4 * (2 * alpha + 1))
    assert lam.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(variance / 20000))
    assert lam.var().item() == pytest.approx(variance, rel=0.05)
    again = RandomNumbers(generator(), CPU).beta(alpha, 20000)
    assert torch.equal(lam, again)


@pytest.mark.parametrize(
    ("method", "option"),
    [("cutmix", "box"), ("saliencymix", "box"), ("saliencymixplus", "lam0"), ("mixup", "lam0"),
     ("fmix", "mask"), ("gridmix", "mask")],
)  # fmt: skip
def test_a_mixers_alpha_shapes_its_lam0(method: str, option: str) -> None:
    for alpha in (0.2, 1.0, 4.0):
        mixer = mixing.create(method, alpha=alpha, **{option: "sample"})
        lam0 = mixer.draw(4000, 1, 1, generator=generator()).lam0
        assert lam0 is not None
        assert lam0.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_centres_cover_the_image_evenly() -> None:
    centres = mixing.create("cutmix", box="sample").draw(24000, 4, 6, generator=generator()).centre
    assert centres is not None
    counts = torch.bincount(centres[:, 0] * 6 + centres[:, 1], minlength=24)
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 5 * math.sqrt(1000)


@pytest.mark.parametrize(
    ("method", "option"),
    [("cutmix", "box"), ("saliencymix", "box"), ("saliencymixplus", "lam0"), ("mixup", "lam0"),
     ("resizemix", "box"), ("fmix", "mask"), ("gridmix", "mask"), ("smoothmix", "mask")],
)  # fmt: skip
def test_numbers_are_for_the_batch_or_for_each_sample(method: str, option: str) -> None:
    for scope, count in (("batch", 1), ("sample", 5)):
        draw = mixing.create(method, **{option: scope}).draw(5, 8, 8)
        for name in ("lam0", "centre", "uniform", "noise"):
            numbers = getattr(draw, name)
            assert numbers is None or len(numbers) == count, name


def test_a_draw_can_be_changed_and_injected() -> None:
    mixer = mixing.create("cutmix", box="sample")
    draw = mixer.draw(4, 8, 8, generator=generator())
    assert draw.lam0 is not None
    assert draw.lam0.shape == (4,)
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    first = mixer(images, labels, draw=draw)
    assert torch.equal(first.images, mixer(images, labels, draw=draw.to("cpu")).images)
    assert torch.equal(first.images, mixer(images, labels, generator=generator()).images)


@pytest.mark.parametrize("method", ["cutmix", "mixup", "saliencymix"])
def test_a_loader_mixes_in_its_collate_fn(method: str) -> None:
    images, labels, maps = torch.rand(10, 3, 8, 8), torch.arange(10), torch.rand(10, 8, 8)
    mixer = mixing.create(method)
    parts = (images, labels, maps) if mixer.needs_saliency else (images, labels)
    loader = DataLoader(
        TensorDataset(*parts), 4, collate_fn=mixing.collate(mixer, generator=generator())
    )
    batches = list(loader)
    assert [len(mixed.images) for mixed in batches] == [4, 4, 2]
    for mixed in batches:
        assert mixed.soft_labels(10).shape == (len(mixed.images), 10)
        assert mixed.to("cpu", non_blocking=True).lam.equal(mixed.lam)


def test_a_loaders_mixing_follows_from_its_generator() -> None:
    data, mixer = TensorDataset(torch.rand(8, 3, 8, 8), torch.arange(8)), mixing.create("mixup")
    first, second, other = (
        next(iter(DataLoader(data, 8, collate_fn=mixing.collate(mixer, generator=generator(seed)))))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, other.images)


def test_a_redrawn_permutation_is_a_derangement_but_for_a_rare_one() -> None:
    numbers, found = RandomNumbers(generator(), CPU), []
    for _ in range(2000):
        order = draws.partners(4, "redrawn", numbers)
        assert sorted(order.tolist()) == [0, 1, 2, 3]
        found.append(tuple(order.tolist()))
    deranged = [order for order in found if all(k != i for i, k in enumerate(order))]
    # Ten permutations of four images all have a fixed point in (5/8)^10 = 0.9 % of cases.
    assert 0.98 < len(deranged) / len(found) < 0.998
    counts = [deranged.count(order) for order in set(deranged)]
    assert len(counts) == 9
    assert max(counts) < 1.35 * min(counts)
