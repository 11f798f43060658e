"""The optimiser, and a moving average of the weights."""

import copy

import torch
from torch import Tensor, nn

from saliencymixplus.settings import TrainingSettings


def create_optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.SGD:
    """SGD with weight decay on all parameters, as published.

    The learning rate is a tensor on the device and the momentum exists from the start (zero, which
    gives the same first step), so that a captured step finds both where they stay.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    fused = device.type in ("cpu", "cuda")
    rate = torch.tensor(settings.learning_rate, device=device) if fused else settings.learning_rate
    optimiser = torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=fused,
    )
    if settings.momentum:
        for parameter in parameters:
            buffer = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            optimiser.state[parameter]["momentum_buffer"] = buffer
    return optimiser


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, in place where it is a tensor; the device is not waited for."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def momentum_of(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The momentum buffers by the names of their parameters; the tensors themselves, no copies."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        buffer = optimiser.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            found[name] = buffer
    return found


class WeightAverage:
    """An exponential moving average of a model's parameters and statistics (Polyak averaging).

    The decay rises from 0.1 as (1 + n) / (10 + n), so that the first steps are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        state, source = self.model.state_dict(), model.state_dict()
        floating = [key for key, value in state.items() if value.is_floating_point()]
        self._ours = [state[key] for key in floating]
        self._theirs = [source[key] for key in floating]
        self._counters = [(state[k], source[k]) for k in state if k not in set(floating)]
        self._share = torch.zeros((), device=self._ours[0].device)

    def set_step(self, step: int) -> None:
        """Before step ``step`` (counted from 0): how much of the new weights is taken."""
        self._share.fill_(1.0 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """average += share · (weights − average), on the device."""
        change = torch._foreach_sub(self._theirs, self._ours)
        torch._foreach_mul_(change, self._share)
        torch._foreach_add_(self._ours, change)
        for ours, theirs in self._counters:
            ours.copy_(theirs)
