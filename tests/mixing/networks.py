"""Small networks and batches for tests of the training step."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from saliencymixplus import mixing
from saliencymixplus.models import create_model


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 4),
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
    return model


def network_for(method: str, size: int) -> nn.Module:
    """A small network of 10 classes for square images that a method can look into."""
    if method == "transmix":
        return VisionTransformer(size, 4, 1, 2, 8, 16, num_classes=10)
    return create_model("resnet8", 10, size)


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(count, 3, 10, 14, generator=generator)
    return images, torch.randint(4, (count,), generator=generator)


def run(mixer: mixing.Mixer, model: nn.Module, **how: Any) -> mixing.Step:
    images, labels = batch()
    draw = mixer.draw(len(images), 10, 14, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(1)  # dropout
    return mixing.backward(model, mixer, images, labels, draw=draw, **how)
