"""The optimizer: SGD, prepared so that a captured step can replay it."""

import torch
from torch import Tensor, nn

from saliencymixplus.settings import TrainingSettings


def create_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.SGD:
    """SGD with weight decay on all parameters, as published.

    The learning rate is a tensor on the device and the momentum buffers exist from the start
    (zeros, which give the same first step), so that a captured step finds both at fixed addresses.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    fused = device.type in ("cpu", "cuda")
    lr = torch.tensor(settings.learning_rate, device=device) if fused else settings.learning_rate
    optimizer = torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=fused,
    )
    if settings.momentum:
        for parameter in parameters:
            buffer = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            optimizer.state[parameter]["momentum_buffer"] = buffer
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate, in place where it is a tensor, without waiting for the device."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def momentum_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The momentum buffers themselves (not copies), by the names of their parameters."""
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            found[name] = buffer
    return found
