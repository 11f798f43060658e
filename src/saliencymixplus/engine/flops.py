"""Count the floating-point operations of matrix products and convolutions."""

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts with torch's formulas; torch's FlopCounterMode fails if only inputs need gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=found)
        return found


def forward_flops(model: nn.Module, batch_size: int, size: tuple[int, int]) -> int:
    """FLOPs of a forward pass on ``batch_size`` images of ``size`` (H, W), computed from shapes.

    Forward and backward passes together take three times as many.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors}
    images = torch.empty(batch_size, 3, *size, device="meta")
    counter = FlopCounter()
    with torch.no_grad(), counter:
        torch.func.functional_call(model, shapes, (images,))
    return counter.flops
