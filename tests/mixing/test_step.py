"""The training step: effects on gradients, buffers and the network's modes."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.mixing.saliency import pass_mode
from tests.mixing.networks import batch, network, run

PUBLISHED = mixing.resolve_options("saliencymixplus", {"variant": "published"})


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad for p in model.parameters()]


def test_unmixed_steps_are_plain_cross_entropy() -> None:
    images, labels = batch()
    expected = network()
    torch.manual_seed(1)
    loss = F.cross_entropy(expected(images), labels)
    loss.backward()
    for mixer, mix in ((mixing.create("none"), True), (mixing.create("cutmix"), False)):
        model = network()
        step = run(mixer, model, mix=mix)
        assert step.mixed is None
        assert not step.loss.requires_grad
        assert not step.logits.requires_grad
        torch.testing.assert_close(step.loss, loss.detach())
        torch.testing.assert_close(gradients(model), gradients(expected))


def test_the_corrected_step_is_the_per_sample_loss_alone() -> None:
    model, expected = network(), network()
    labels = batch()[1]
    step = run(mixing.create("saliencymixplus"), model)
    mixed = step.mixed
    assert mixed is not None
    assert not step.loss.requires_grad  # it would keep the graph
    assert not step.logits.requires_grad
    torch.manual_seed(1)
    logits = expected(mixed.images)
    a, b = labels[mixed.index_a], labels[mixed.index_b]
    terms = [
        lam * F.cross_entropy(z[None], y[None]) + (1 - lam) * F.cross_entropy(z[None], w[None])
        for lam, z, y, w in zip(mixed.lam, logits, a, b, strict=True)
    ]
    loss = torch.stack(terms).mean()
    loss.backward()
    torch.testing.assert_close(step.loss, loss.detach())
    torch.testing.assert_close(gradients(model), gradients(expected))
    torch.testing.assert_close(dict(model.named_buffers()), dict(expected.named_buffers()))


def clean(model: nn.Module) -> list[Tensor]:
    images, labels = batch()
    torch.manual_seed(1)
    with pass_mode(model, "train", "untouched"):
        return list(torch.autograd.grad(F.cross_entropy(model(images), labels),
                                        list(model.parameters())))  # fmt: skip


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("cutmix", {}),
        ("saliencymixplus", {}),
        ("saliencymixplus", {"saliency_mode": "train"}),
        ("saliencymixplus", {"saliency_resolution": 0.5}),
    ],
)
def test_the_clean_gradient_is_added_with_its_weight(method: str, options: Any) -> None:
    def model() -> nn.Sequential:
        built = network()
        built[3] = nn.Identity()  # dropout would draw other masks in another order
        return built

    without, with_it = model(), model()
    run(mixing.create(method, **options), without)
    run(mixing.create(method, clean_gradient=0.5, **options), with_it)
    for plain, both, extra in zip(
        gradients(without), gradients(with_it), clean(model()), strict=True
    ):
        torch.testing.assert_close(both, plain + 0.5 * extra)
    torch.testing.assert_close(dict(without.named_buffers()), dict(with_it.named_buffers()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
def test_soft_labels_of_any_type_train(dtype: torch.dtype) -> None:
    images, labels = batch()
    hard, soft = network(), network()
    mixer = mixing.create("saliencymixplus", variant="published")
    draw = mixer.draw(6, 10, 14)
    for model, target in ((hard, labels), (soft, F.one_hot(labels, 4).to(dtype))):
        torch.manual_seed(1)
        mixing.backward(model, mixer, images, target, draw=draw)
    torch.testing.assert_close(gradients(soft), gradients(hard))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_losses_have_single_precision_at_least(variant: str, dtype: torch.dtype) -> None:
    images, labels = batch()
    mixer = mixing.create("saliencymixplus", variant=variant)
    mixed = mixer(images, labels, saliency=torch.rand(6, 10, 14))
    logits = torch.randn(len(mixed.lam), 4).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    assert mixed.losses(logits).dtype == wide
    torch.testing.assert_close(mixed.loss(logits), mixed.loss(logits.to(wide)), rtol=0, atol=0)


def test_gradients_accumulate() -> None:
    once, twice = network(), network()
    run(mixing.create("saliencymixplus", variant="published"), once)
    for p in twice.parameters():
        p.grad = torch.ones_like(p)
    run(mixing.create("saliencymixplus", variant="published"), twice)
    torch.testing.assert_close(gradients(twice), [g + 1 for g in gradients(once)])


@pytest.mark.parametrize("option", [name for name, value in PUBLISHED.items()
                                    if value != mixing.resolve_options("saliencymixplus", {})[name]
                                    and name != "variant"])  # fmt: skip
def test_every_quirk_can_be_set_alone(option: str) -> None:
    """Each published option changes what the corrected step leaves behind, and only it is set."""
    mixer = mixing.create("saliencymixplus", **{option: PUBLISHED[option]})
    assert asdict(mixer.options) == mixing.resolve_options("saliencymixplus", {}) | {
        option: PUBLISHED[option]
    }
    # Whether statistics are kept only matters in a train-mode pass.
    base = {"saliency_mode": "train"} if option == "batch_norm" else {}

    def left(options: dict[str, Any]) -> list[Tensor]:
        model = network().train()
        images, labels = batch()
        mixing.backward(model, mixing.create("saliencymixplus", **options), images, labels,
                        generator=torch.Generator().manual_seed(3))  # fmt: skip
        return [*gradients(model), *model.buffers()]

    changed = zip(left(base), left(base | {option: PUBLISHED[option]}), strict=True)
    assert not all(torch.equal(a, b) for a, b in changed)


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_autocast_covers_the_passes_and_not_the_mixing(variant: str) -> None:
    model = network()
    step = run(
        mixing.create("saliencymixplus", variant=variant),
        model,
        autocast=partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    )
    assert step.logits.dtype == torch.bfloat16
    assert step.mixed is not None
    assert step.mixed.images.dtype == step.mixed.lam.dtype == torch.float32
    assert step.loss.dtype == torch.float32
    assert all(torch.isfinite(g).all() for g in gradients(model))


def test_mixing_within_autocast_is_as_exact_as_without() -> None:
    images, labels = batch()
    mixer = mixing.create("guidedsr", smoothing=1.0)  # the blur is a convolution
    expected = mixer(images, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mixer(images, labels)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.lam, expected.lam)


def test_what_is_missing_is_said() -> None:
    images, labels = batch()
    cases: list[tuple[str, Callable[[], Any]]] = [
        ("model", lambda: mixing.create("saliencymixplus")(images, labels)),
        (
            "give floats, not torch.uint8",
            lambda: mixing.create("saliencymixplus")(images.byte(), labels, model=network()),
        ),
        ("saliency", lambda: mixing.create("saliencymix")(images, labels)),
        ("images", lambda: mixing.create("cutmix")(images[0], labels)),
        ("empty dimension", lambda: mixing.create("cutmix")(images[:0], labels[:0])),
        ("labels", lambda: mixing.create("cutmix")(images, labels[:2])),
        ("labels", lambda: mixing.create("cutmix")(images, labels[:, None, None])),
        (
            "saliency must be",
            lambda: mixing.create("saliencymix")(images, labels, saliency=torch.rand(6, 3, 3)),
        ),
        ("network", lambda: mixing.collate(mixing.create("saliencymixplus"))),
    ]
    for message, call in cases:
        with pytest.raises(ValueError, match=message):
            call()
