"""Recipes and settings for tests of the audit."""

from types import SimpleNamespace

import torch
from torch import nn

from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings

SETTINGS = AuditSettings(images=40, batch_size=8, resamples=50, worst=2, epoch_images=8)


def recipes(*names):
    return [MixSettings(name=name, method=name) for name in names]


def run_of(classes, weights=("last",), crop_size=None):
    """A run whose network looks at the mean colour."""

    def model(which="last"):
        torch.manual_seed(weights.index(which))
        return nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(27, 3)).eval()

    return SimpleNamespace(
        settings=SimpleNamespace(
            training=SimpleNamespace(crop_size=crop_size),
            mix=SimpleNamespace(name="saliencymixplus"),
        ),
        data=SimpleNamespace(classes=classes),
        digest="0" * 16,
        weights=list(weights),
        model=model,
    )
