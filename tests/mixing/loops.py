"""Batches and calls for tests of mixers in other training loops."""

from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from tests.helpers import maps_for


class Network(nn.Module):
    """Logits in whatever ``wrap`` makes of them."""

    def __init__(self, wrap: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        logits = self.layers(images)
        return self.wrap(logits) if self.wrap else logits


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.arange(count) % 5


def given(mixer: mixing.Mixer, count: int = 6) -> dict[str, Any]:
    """Maps and masks where the mixer needs them."""
    return maps_for(mixer, torch.rand(count, 8, 8, generator=torch.Generator().manual_seed(2)))


def seeded(mixer: mixing.Mixer, *arguments: Any, **more: Any) -> mixing.MixedBatch:
    return mixer(*arguments, generator=torch.Generator().manual_seed(3), **more)
