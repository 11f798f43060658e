"""FGSM and PGD against captum, a linear model with a known worst case, and their bounds."""

import numpy as np
import pytest
import torch
from torch import nn

from saliencymixplus.evaluation.attacks import attack_errors, fgsm, pgd
from saliencymixplus.evaluation.classifier import PixelClassifier


class Linear(nn.Module):
    """Two classes; the score of class 1 less that of class 0 is w·x."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.tensor(weights)

    def forward(self, pixels):
        score = (pixels.flatten(1) * self.weights).sum(1)
        return torch.stack((torch.zeros_like(score), score), 1)


WEIGHTS = [1.0, -2.0, 0.5, -0.1]


def test_fgsm_on_a_linear_model_by_hand():
    pixels = torch.tensor([0.5, 0.5, 0.02, 0.95]).view(1, 1, 2, 2)
    attacked = fgsm(Linear(WEIGHTS), pixels, torch.tensor([1]), 0.1)
    # Against class 1 each pixel goes by ε against the sign of its weight, and not beyond [0, 1].
    assert attacked.flatten().tolist() == pytest.approx([0.4, 0.6, 0.0, 1.0])


def test_pgd_reaches_the_worst_corner_of_a_linear_model():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(16, 1, 2, 2, generator=generator)
    labels = torch.arange(16) % 2
    model = Linear(WEIGHTS)
    attacked = pgd(model, pixels, labels, 0.05, steps=10, generator=generator)
    assert torch.allclose(attacked, fgsm(model, pixels, labels, 0.05), atol=1e-6)


def test_attacks_are_captums(classifier, monkeypatch):
    robust = pytest.importorskip("captum.robust")
    pixels = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(8) % 3
    options = {
        "loss_func": nn.CrossEntropyLoss(reduction="none"),
        "lower_bound": 0,
        "upper_bound": 1,
    }
    one = robust.FGSM(classifier, **options).perturb(pixels.clone(), 0.03, labels)
    assert torch.allclose(fgsm(classifier, pixels, labels, 0.03), one, atol=1e-6)
    many = robust.PGD(classifier, **options).perturb(
        pixels.clone(), radius=0.03, step_size=2.5 * 0.03 / 4, step_num=4, target=labels
    )
    # captum starts at the image itself, as a first draw of one half everywhere does.
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.5))
    assert torch.allclose(pgd(classifier, pixels, labels, 0.03, steps=4), many, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_pgd_stays_in_the_ball_and_in_range(classifier, steps):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(8, 3, 8, 8, generator=generator).round(decimals=1)
    labels = torch.arange(8) % 3
    attacked = pgd(classifier, pixels, labels, 0.03, steps=steps, generator=generator)
    assert float((attacked - pixels).abs().max()) <= 0.03 + 1e-6
    assert float(attacked.min()) >= 0
    assert float(attacked.max()) <= 1


def test_attacks_raise_the_loss_and_leave_no_gradients(classifier):
    pixels = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(32) % 3
    loss = nn.CrossEntropyLoss(reduction="none")
    clean = loss(classifier(pixels), labels)
    one = loss(classifier(fgsm(classifier, pixels, labels, 0.02)), labels)
    many = loss(classifier(pgd(classifier, pixels, labels, 0.02, steps=20)), labels)
    assert (one > clean).all()
    assert float(many.mean()) >= float(one.mean()) - 1e-4
    assert not one.requires_grad
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_epsilon_is_in_pixels_whatever_the_normalisation():
    images = np.full((1, 2, 2, 3), 128, np.uint8)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack((torch.zeros(12), torch.ones(12))))
    # Normalised, the image scores 12 · (128/255 − 0.5) / 0.1 = 0.235 for class 1 over class 0;
    # one 255th less in each pixel turns the sign, half a 255th does not quite.
    classifier = PixelClassifier(model, (0.5,) * 3, (0.1,) * 3, 2)
    rows = attack_errors(
        classifier,
        images,
        torch.tensor([1]),
        epsilons=(1.0, 0.4),
        pgd_steps=5,
        batch_size=4,
        seed=0,
    )
    errors = [(row["attack"], row["epsilon_255"], row["top1_error"]) for row in rows]
    assert errors == [
        (attack, *figures)
        for attack in ("fgsm", "pgd")
        for figures in ((0, 0), (0.4, 0), (1.0, 100))  # the untouched image first
    ]


def test_rows_do_not_depend_on_the_batch_size(classifier):
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
    labels = torch.arange(10) % 3
    options = {"epsilons": (2.0,), "pgd_steps": 3, "seed": 4}
    whole = attack_errors(classifier, images, labels, batch_size=10, **options)
    parts = attack_errors(classifier, images, labels, batch_size=3, **options)
    assert whole == parts
