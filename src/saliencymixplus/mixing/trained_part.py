"""The module that a method trains along with the network, as the network's own submodule."""

from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.method import Method

PART = "mixing_part"  # its name in the network


def new_part(
    method: Method, options: Any, model: nn.Module, images: Tensor, seed: int
) -> nn.Module:
    """The module for ``model``, which sees ``images``; its weights depend on ``seed`` alone."""
    assert method.part is not None
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        return method.part(model, images, options)


def part_of(model: nn.Module) -> nn.Module | None:
    """The module in ``model``, which may be compiled; None before ``Mixer.attach``."""
    return getattr(getattr(model, "_orig_mod", model), PART, None)
