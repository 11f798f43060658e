"""Count the floating-point operations of matrix products and convolutions."""

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from saliencymixplus.models.layers import meta_logits

_aten: Any = torch.ops.aten
# Torch counts fused attention on a GPU only; on the CPU it has the same arguments.
_FORMULAS = flop_registry | {
    getattr(_aten, f"_scaled_dot_product_flash_attention_for_cpu{which}"): flop_registry[
        getattr(_aten, f"_scaled_dot_product_flash_attention{which}")
    ]
    for which in ("", "_backward")
}


class FlopCounter(TorchDispatchMode):
    """Counts with torch's formulas; torch's FlopCounterMode fails if only inputs need gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=found)
        return found


def training_flops(model: nn.Module, batch_size: int, size: tuple[int, int]) -> int:
    """FLOPs of a forward and backward pass on ``batch_size`` images of ``size`` (H, W).

    Computed from shapes, as three times those of the forward pass.
    """
    counter = FlopCounter()
    with counter:
        meta_logits(model, batch_size, size)
    return 3 * counter.flops
