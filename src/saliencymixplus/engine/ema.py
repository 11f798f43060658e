"""An exponential moving average of a network's weights (Polyak averaging)."""

import copy

import torch
from torch import nn


class EMA:
    """The moving average of a model's parameters and batch-norm statistics.

    The decay at step n (from 0) is min(``decay``, (1 + n) / (10 + n)), so that the first steps are
    quickly forgotten. Integer buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        state, source = self.model.state_dict(), model.state_dict()
        floating = [key for key, value in state.items() if value.is_floating_point()]
        self._averages = [state[key] for key in floating]
        self._weights = [source[key] for key in floating]
        self._counters = [(state[k], source[k]) for k in state if k not in set(floating)]
        self._new = torch.zeros((), device=self._averages[0].device)  # 1 − decay

    def set_step(self, step: int) -> None:
        """Set the decay for ``step``, counted from 0 over the whole training."""
        self._new.fill_(1.0 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Update on the device: average += (1 − decay) · (weights − average)."""
        change = torch._foreach_sub(self._weights, self._averages)
        torch._foreach_mul_(change, self._new)
        torch._foreach_add_(self._averages, change)
        for average, counter in self._counters:
            average.copy_(counter)
