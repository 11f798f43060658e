"""The module that a method trains along with the network, as a submodule of the network."""

from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.batch import Batch
from saliencymixplus.mixing.features import uncompiled
from saliencymixplus.mixing.method import Method

PART = "mixing_part"  # its name in the network


def new_part(
    method: Method, options: Any, model: nn.Module, images: Tensor, seed: int
) -> nn.Module:
    """Create the module for ``model``, with input like ``images``; ``seed`` draws its weights."""
    assert method.part is not None
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        return method.part(model, images, options)


def part_for(method: Method, options: Any, batch: Batch) -> nn.Module | None:
    """The batch's module, else the one in its network, else an untrained one.

    None if the method trains no module.
    """
    if method.part is None or batch.part is not None:
        return batch.part
    assert batch.model is not None
    found = part_of(batch.model)
    return new_part(method, options, batch.model, batch.images, 0) if found is None else found


def part_of(model: nn.Module) -> nn.Module | None:
    """The module in ``model`` (compiled or not); None before ``Mixer.attach``."""
    return getattr(uncompiled(model), PART, None)
