"""Label smoothing and binary cross-entropy of mixed labels, against timm and naive sums."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.mixing import Criterion

CLASSES = 5


def mixed_batch(method: str = "cutmix", **options: Any) -> tuple[mixing.MixedBatch, Tensor]:
    generator = torch.Generator().manual_seed(3)
    images, labels = torch.rand(6, 3, 8, 8, generator=generator), torch.arange(6) % CLASSES
    given = {"saliency": torch.rand(6, 8, 8, generator=generator)} if method == "snapmix" else {}
    mixer = mixing.create(method, **options)
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(4), **given)
    return mixed, torch.randn(len(mixed.lam), CLASSES, generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_mixed_and_smoothed_labels_are_timms(loss: Any, smoothing: float) -> None:
    pytest.importorskip("timm")
    from timm.data.mixup import mixup_target
    from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy

    theirs = {"ce": SoftTargetCrossEntropy(), "bce": BinaryCrossEntropy(smoothing=0)}[loss]
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6) % CLASSES
    mixer = mixing.create("mixup")
    draw = mixer.draw(6, 8, 8, generator=torch.Generator().manual_seed(1))
    # timm mixes each image with the one at the same place from the end of the batch.
    draw.index_b.copy_(torch.arange(5, -1, -1))
    mixed = mixer(images, labels, draw=draw)
    lam = mixed.lam[0].item()
    assert 0.05 < lam < 0.95
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(5))
    target = mixup_target(labels, CLASSES, lam, smoothing)
    criterion = Criterion(loss, smoothing)
    torch.testing.assert_close(mixed.loss(logits, criterion), theirs(logits, target))
    torch.testing.assert_close(mixed.losses(logits, criterion).mean(), theirs(logits, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_plain_labels_are_those_of_torch_and_timm(smoothing: float) -> None:
    logits = torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(6) % CLASSES
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    for given in (labels, F.one_hot(labels).float()):
        found = Criterion("ce", smoothing)(logits, given)
        torch.testing.assert_close(found, expected)
    assert torch.equal(Criterion()(logits, labels), F.cross_entropy(logits, labels))
    timm_loss = pytest.importorskip("timm.loss")
    for given in (labels, F.one_hot(labels).float()):
        torch.testing.assert_close(
            Criterion("bce", smoothing)(logits, given),
            timm_loss.BinaryCrossEntropy(smoothing=smoothing)(logits, labels),
        )


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_two_weights_that_do_not_sum_to_one_weigh_two_losses(loss: Any) -> None:
    mixed, logits = mixed_batch("snapmix", box="sample")
    assert mixed.lam_b is not None
    assert not torch.allclose(mixed.lam + mixed.lam_b, torch.ones(()))
    criterion = Criterion(loss, 0.1)
    for i, value in enumerate(mixed.losses(logits, criterion)):
        expected = 0.0
        for label, weight in (
            (mixed.labels_a[i], mixed.lam[i]),
            (mixed.labels_b[i], mixed.lam_b[i]),
        ):
            target = torch.full((CLASSES,), 0.1 / CLASSES)
            target[label] += 0.9
            if loss == "ce":
                term = -(target * logits[i].log_softmax(0)).sum()
            else:
                chance = logits[i].sigmoid()
                term = -(target * chance.log() + (1 - target) * (1 - chance).log()).mean()
            expected += weight * term
        torch.testing.assert_close(value, expected)


def test_the_loss_reaches_every_pass_but_the_saliency_pass() -> None:
    """The clean gradient is that of the loss; the map stays the method's own."""
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    criterion = Criterion("bce", 0.1)
    mixer = mixing.create("saliencymixplus-published")
    draw = mixer.draw(4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert mixing.passes(mixer, criterion=criterion) == mixing.passes(mixer) + 1

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 4))

    usual = mixing.backward(network(), mixer, images, labels, draw=draw)
    model, expected = network(), network()
    step = mixing.backward(model, mixer, images, labels, draw=draw, criterion=criterion)
    assert usual.mixed is not None
    assert step.mixed is not None
    torch.testing.assert_close(step.mixed.saliency, usual.mixed.saliency)
    criterion(expected(images), labels).backward()
    step.mixed.loss(expected(step.mixed.images), criterion).backward()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    mixing.backward(model, mixer, images, labels, mix=False, criterion=criterion)
