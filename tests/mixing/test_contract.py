"""What a method's file can rely on: needs, hooks, second label weights, order, pickling."""

import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.mixing.batch import Batch, Blend, MixedBatch, Sources
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import MixingOptions, Need
from saliencymixplus.mixing.saliency import (
    absolute_mean,
    absolute_sum,
    gradient_saliency,
    root_mean_square,
)


@dataclass(frozen=True, kw_only=True)
class ToyOptions(MixingOptions):
    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"network", "masks"})


def network_maps(batch: Batch, options: ToyOptions) -> Tensor:
    assert batch.model is not None
    return batch.model(batch.images).sum(1)[:, None, None].expand(-1, *batch.images.shape[2:])


def reversed_pairs(batch: Batch, saliency: Tensor | None, options: ToyOptions) -> Tensor:
    return torch.arange(len(batch.images)).flip(0)


def toy(sources: Sources, draw: Draw, options: ToyOptions) -> Blend:
    assert sources.masks is not None
    assert draw.lam1 is not None
    weight = sources.masks.index_select(0, sources.index_b).float()[:, None]
    second = torch.full_like(draw.lam1, 0.75)
    return Blend(sources.a, weight, second / 3, lam_b=second, aux=sources.saliency)


def doubled(model: nn.Module, mixed: MixedBatch, options: ToyOptions) -> tuple[Any, MixedBatch]:
    return 2 * model(mixed.images), mixed


TOY = Method(
    name="toy",
    label="Toy",
    year=2000,
    summary="",
    paper="",
    options=ToyOptions,
    apply=toy,
    maps=network_maps,
    pair=reversed_pairs,
    forward=doubled,
    second_lam0=True,
)


@pytest.fixture
def mixer(monkeypatch: pytest.MonkeyPatch) -> mixing.Mixer:
    monkeypatch.setitem(mixing.METHODS, "toy", TOY)
    return mixing.create("toy")


@pytest.fixture
def batch() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 6))
    images, labels = torch.rand(4, 3, 4, 5), torch.tensor([0, 1, 2, 2])
    return model, images, labels, torch.randint(0, 2, (4, 4, 5))


def test_methods_are_ordered_by_year_and_name() -> None:
    names = [*mixing.METHODS]
    assert names[0] == "none"
    dated = [(m.year, m.name) for m in mixing.METHODS.values() if m.year is not None]
    assert dated == sorted(dated)
    assert len({m.label for m in mixing.METHODS.values()}) == len(names)


@pytest.mark.parametrize("name", mixing.METHODS)
def test_a_method_pickles(name: str) -> None:
    assert pickle.loads(pickle.dumps(mixing.METHODS[name])) == mixing.METHODS[name]  # noqa: S301


def test_hooks_and_needs(mixer: mixing.Mixer, batch: Any) -> None:
    model, images, labels, masks = batch
    assert (mixer.needs_model, mixer.needs_masks, mixer.needs_saliency) == (True, True, False)
    mixed = mixer(images, labels, model=model, masks=masks)
    assert mixed.index_b.tolist() == [3, 2, 1, 0]
    assert mixed.mask is not None
    assert mixed.mask[:, 0].equal(masks.flip(0).float())
    expected = model(images).sum(1).detach()
    torch.testing.assert_close(mixed.saliency[:, 0, 0], expected)  # type: ignore[index]
    torch.testing.assert_close(mixed.aux, mixed.saliency)


def test_what_is_missing_is_named(mixer: mixing.Mixer, batch: Any) -> None:
    model, images, labels, masks = batch
    with pytest.raises(ValueError, match="masks="):
        mixer(images, labels, model=model)
    with pytest.raises(ValueError, match="model="):
        mixer(images, labels, masks=masks)
    with pytest.raises(ValueError, match=r"masks must be \(4, 4, 5\)"):
        mixer(images, labels, model=model, masks=masks[:2])


def test_a_draw_that_lacks_numbers_is_refused() -> None:
    draw = mixing.Draw(torch.arange(4), lam0=torch.tensor([0.5]))
    with pytest.raises(ValueError, match="the draw lacks centre"):
        mixing.create("cutmix")(torch.rand(4, 3, 8, 8), torch.arange(4), draw=draw)


def test_two_weights_need_not_sum_to_one(mixer: mixing.Mixer, batch: Any) -> None:
    model, images, labels, masks = batch
    mixed = mixer(images, labels, model=model, masks=masks)
    logits = model(images)
    expected = 0.25 * F.cross_entropy(logits, labels, reduction="none")
    expected += 0.75 * F.cross_entropy(logits, labels.flip(0), reduction="none")
    doubled_b = MixedBatch(**{**vars(mixed), "lam_b": 2 * mixed.lam_b})  # type: ignore[operator]
    torch.testing.assert_close(mixed.losses(logits), expected)
    expected += 0.75 * F.cross_entropy(logits, labels.flip(0), reduction="none")
    torch.testing.assert_close(doubled_b.losses(logits), expected)
    torch.testing.assert_close(doubled_b.loss(logits), expected.mean())
    soft = 0.25 * F.one_hot(labels, 6) + 1.5 * F.one_hot(labels.flip(0), 6)
    torch.testing.assert_close(doubled_b.soft_labels(6), soft)
    torch.testing.assert_close(doubled_b.label_fraction, torch.full((4,), 0.25 / 1.75))


def test_a_step_takes_the_methods_own_forward_pass(mixer: mixing.Mixer, batch: Any) -> None:
    model, images, labels, masks = batch
    step = mixing.backward(model, mixer, images, labels, masks=masks)
    torch.testing.assert_close(step.logits, 2 * model(images).detach())


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (absolute_sum, lambda g: g.abs().sum(1)),
        (absolute_mean, lambda g: g.abs().mean(1)),
        (root_mean_square, lambda g: (g**2).mean(1) ** 0.5),
    ],
)
def test_the_gradients_channels_are_combined(aggregate: Any, expected: Any, batch: Any) -> None:
    model, images, labels, _ = batch
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels), leaf)
    found, _ = gradient_saliency(model, images, labels, aggregate=aggregate)
    torch.testing.assert_close(found, expected(gradient))


def test_a_renamed_option_is_still_accepted() -> None:
    with pytest.warns(FutureWarning, match="saliency_share is now called saliency_fraction"):
        mixer = mixing.create("saliencymixplus", **{"saliency_share": 0.5})
    assert mixer.options.saliency_fraction == 0.5


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ("SaliencyMix+", "saliencymixplus"),
        ("CutMix", "cutmix"),
        ("Guided-SR", "guidedsr"),
        ("CutMix-published", "cutmix"),
        ("saliencymix-published", "saliencymix"),
    ],
)
def test_names_and_presets_are_understood(given: str, method: str) -> None:
    mixer = mixing.create(given)
    assert mixer.method == method
    expected = {"variant": "published"} if method == "saliencymix" else {}
    expected = {"pairs": "permutation"} if given == "CutMix-published" else expected
    assert mixer.options == mixing.create(method, **expected).options


def test_a_presets_option_can_be_overridden() -> None:
    assert mixing.create("cutmix-published", pairs=None).options.pairs == "permutation"
    assert mixing.create("cutmix-published", pairs="half").options.pairs == "half"
    mixer = mixing.create("saliencymixplus-published", reduction="per_sample", pairs=None)
    assert (
        mixer.options
        == mixing.create("saliencymixplus", variant="published", reduction="per_sample").options
    )


def test_a_misspelt_preset_is_hinted_at() -> None:
    with pytest.raises(ValueError, match="did you mean 'saliencymix-published'"):
        mixing.create("saliencymix-publshed")
