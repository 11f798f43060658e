"""Mixers in data loaders: pickling, workers, samples as dictionaries."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from saliencymixplus import mixing
from tests.mixing.loops import batch, given, seeded


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


@pytest.mark.parametrize("method", mixing.METHODS)
@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_mixers_and_batches_pickle(method: str, copied: Any) -> None:
    mixer = mixing.create(method)
    other = copied(mixer)
    assert (other.method, other.options, repr(other)) == (method, mixer.options, repr(mixer))
    mixed = seeded(mixer, *batch(), **given(mixer))
    again = seeded(other, *batch(), **given(mixer))
    assert again.images.equal(mixed.images)
    assert copied(mixed).lam.equal(mixed.lam)
    if not mixer.needs_model:
        assert copied(mixing.collate(mixer)).mixer.options == mixer.options


def test_a_compiled_mixer_pickles_and_is_compiled_again() -> None:
    torch._dynamo.reset()  # what other tests compiled counts towards its limit
    mixer = mixing.create("cutmix").compiled(backend="eager")
    other = pickled(mixer)
    assert other._how == {"backend": "eager"}
    assert seeded(other, *batch()).images.equal(seeded(mixer, *batch()).images)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_workers_mix_however_they_are_started(start: str) -> None:
    data = TensorDataset(*batch(16))
    generator = torch.Generator().manual_seed(0)
    collate = mixing.collate(mixing.create("cutmix", box="sample"), generator=generator)
    loader = DataLoader(data, 8, collate_fn=collate, num_workers=2, multiprocessing_context=start)
    mixed = list(loader)
    assert len(mixed) == 2
    assert not mixed[0].lam.equal(mixed[1].lam)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_draw_apart_from_each_other_and_every_epoch(persistent: bool) -> None:
    data = TensorDataset(*batch(16))

    def epochs() -> list[list[float]]:
        collate = mixing.collate(mixing.create("mixup"), generator=torch.Generator().manual_seed(0))
        loader = DataLoader(
            data,
            4,
            collate_fn=collate,
            num_workers=2,
            multiprocessing_context="fork",
            persistent_workers=persistent,
            generator=torch.Generator().manual_seed(5),
        )
        return [[mixed.lam[0].item() for mixed in loader] for _ in range(2)]

    first = epochs()
    assert len({lam for epoch in first for lam in epoch}) == 8
    assert epochs() == first  # both generators are seeded


def test_a_pickled_generator_goes_on_where_it_was() -> None:
    generator = torch.Generator().manual_seed(3)
    collate = mixing.collate(mixing.create("mixup"), generator=generator)
    samples = [(image, label) for image, label in zip(*batch(), strict=True)]
    collate(samples)
    copies = pickled(collate), copy.deepcopy(collate)
    expected = collate(samples).images
    for other in copies:
        assert other.generator.initial_seed() == 3
        assert other(samples).images.equal(expected)


def test_without_workers_the_generator_itself_is_used() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = list(zip(*batch(), strict=True))
    collate = mixing.collate(mixing.create("mixup"), generator=generator)
    found = [collate(samples).lam[0].item() for _ in range(2)]
    generator.manual_seed(0)
    assert found == [
        mixing.create("mixup")(*batch(), generator=generator).lam[0].item() for _ in range(2)
    ]


@pytest.mark.parametrize("keys", [("pixel_values", "labels"), ("image", "label")])
def test_dict_samples_are_collated(keys: tuple[str, str]) -> None:
    images, labels = batch()
    samples = [dict(zip(keys, pair, strict=True)) for pair in zip(images, labels, strict=True)]
    generator = torch.Generator().manual_seed(3)
    mixed = mixing.collate(mixing.create("cutmix"), generator=generator)(samples)
    assert mixed.images.equal(seeded(mixing.create("cutmix"), images, labels).images)


def test_maps_of_dict_samples_reach_the_mixer() -> None:
    mixer = mixing.create("saliencymix")
    images, labels = batch()
    maps = given(mixer)["saliency"]
    samples = [
        {"pixel_values": x, "labels": y, "saliency": s}
        for x, y, s in zip(images, labels, maps, strict=True)
    ]
    mixed = mixing.collate(mixer)(samples)
    assert mixed.saliency is not None
    assert mixed.saliency.equal(maps)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "no samples"),
        ([(torch.zeros(3, 8, 8), "cat")] * 2, "labels must be a tensor, not list"),
        ([(torch.zeros(3, 8, 8), None)] * 2, r"labels of a batch \(NoneType\) cannot be stacked"),
        ([(object(), 0)] * 2, r"images of a batch \(object\) cannot be stacked"),
        ([(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 9, 9), 0)], "cannot be stacked"),
        ([(torch.zeros(3, 8, 8), 0, 17)] * 2, r"saliency must be \(2, 8, 8\), not \(2,\)"),
        ([(torch.zeros(3, 8, 8), 0, "a.png")] * 2, "saliency must be a tensor"),
        ([(torch.zeros(3, 8, 8), 0, 1, 2)] * 2, "samples must be"),
        ([torch.zeros(3, 8, 8)] * 2, "samples must be"),
        ([{"pixel_values": torch.zeros(3, 8, 8)}] * 2, "samples lack their labels"),
        ([{"image": torch.zeros(3, 8, 8), "label": 0, "file": "a"}] * 2, "'file'"),
    ],
)
def test_samples_that_cannot_be_mixed_are_refused(samples: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mixing.collate(mixing.create("cutmix"))(samples)
