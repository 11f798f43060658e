"""Create optimizers that a captured step can replay, and save their state by parameter name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.errors import UserError, nearest, one_line
from saliencymixplus.models.layers import lr_scales, without_decay
from saliencymixplus.settings import TrainingSettings

_TIMM = "timm/"


def create_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Create SGD, torch's AdamW or an optimizer from timm's factory.

    For SGD and AdamW, each group's learning rate is a tensor on the device and the state exists
    from the start (zeros, which give the same first step), so that both have fixed addresses for a
    captured step.

    Raises:
        UserError: timm is not installed or has no such optimizer, or it cannot be used here.
    """
    groups = parameter_groups(model, settings)
    if settings.optimizer.startswith(_TIMM):
        return _timm_optimizer(groups, settings)
    device = groups[0]["params"][0].device
    fused = device.type in ("cpu", "cuda")
    for group in groups if fused else ():
        group["lr"] = torch.tensor(group["lr"], device=device)
    if settings.optimizer == "sgd":
        return _sgd(groups, settings, fused)
    return _adamw(groups, settings, fused, device)


def parameter_groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Group the trained parameters by weight decay and (peak) learning rate.

    A group's ``lr_scale`` is its learning rate as a fraction of ``learning_rate``.
    """
    excluded = without_decay(model) if settings.no_decay else set()
    scales = lr_scales(model, settings.backbone_lr, settings.layer_decay)
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = 0.0 if name in excluded else settings.weight_decay
            found.setdefault((decay, scales.get(name, 1.0)), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": decay,
            "lr": scale * settings.learning_rate,
            "lr_scale": scale,
        }
        for (decay, scale), parameters in found.items()
    ]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's learning rate to ``lr`` times its ``lr_scale``; never waits for the device.

    Learning rates that are tensors are changed in place.
    """
    for group in optimizer.param_groups:
        own = group.get("lr_scale", 1.0) * lr
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def is_capturable(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a CUDA graph can replay its step, i.e. the learning rate is read on the device."""
    return all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)


def state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The tensors in the optimizer's state, not copies of them."""
    states = optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def named_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """A copy of the state on the CPU, by parameter name, with the counters that groups keep."""
    names, packed = _names(model, optimizer), optimizer.state_dict()
    return {
        "parameters": {names[index]: _copied(state) for index, state in packed["state"].items()},
        "groups": [
            {key: value for key, value in group.items() if key not in ("params", "lr")}
            for group in packed["param_groups"]
        ],
    }


def load_named_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]
) -> None:
    """Restore the result of ``named_state``. Replaces tensors, so call it before any capture."""
    names, packed = _names(model, optimizer), optimizer.state_dict()
    states = saved["parameters"]
    packed["state"] = {i: states[name] for i, name in enumerate(names) if name in states}
    for group, kept in zip(packed["param_groups"], saved["groups"], strict=True):
        group.update(kept)
    optimizer.load_state_dict(packed)


def _sgd(
    groups: list[dict[str, Any]], settings: TrainingSettings, fused: bool
) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(
        groups, momentum=settings.momentum, nesterov=settings.nesterov, fused=fused
    )
    for parameter in _parameters(optimizer) if settings.momentum else ():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _adamw(
    groups: list[dict[str, Any]], settings: TrainingSettings, fused: bool, device: torch.device
) -> torch.optim.Optimizer:
    chosen: dict[str, Any] = {"betas": settings.betas, "eps": settings.eps}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    optimizer = torch.optim.AdamW(groups, fused=fused, capturable=device.type == "cuda", **chosen)
    for parameter in _parameters(optimizer):
        # Equal to what torch creates at the first step.
        step = torch.zeros((), dtype=torch.float32, device=device if fused else "cpu")
        optimizer.state[parameter] |= {
            "step": step,
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def _timm_optimizer(
    groups: list[dict[str, Any]], settings: TrainingSettings
) -> torch.optim.Optimizer:
    name = settings.optimizer.removeprefix(_TIMM)
    try:
        optim: Any = import_module("timm.optim")
    except ImportError as error:
        raise UserError(
            f"training.optimizer {settings.optimizer} needs timm: "
            "pip install 'saliencymixplus[models]'"
        ) from error
    plain = name.removeprefix("lookahead_")
    if plain not in (known := optim.list_optimizers()):
        raise UserError(f"timm has no optimizer called {name!r}: {nearest(plain, known)}")
    about = optim.get_optimizer_info(plain)
    if about.second_order:
        raise UserError(f"timm's {name} needs second derivatives, which are not computed here")
    chosen: dict[str, Any] = {}
    for key, taken in (("betas", about.has_betas), ("eps", about.has_eps)):
        value = getattr(settings, key)
        if value is not None and not taken:
            raise UserError(f"timm's optimizer {name} has no {key}: set training.{key} to null")
        if value is not None:
            chosen[key] = value
    try:
        optimizer: torch.optim.Optimizer = optim.create_optimizer_v2(
            groups,
            name,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            **chosen,
        )
        return optimizer
    except (ImportError, AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"timm's optimizer {name} cannot be used: {one_line(error)}") from error


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """The parameters' names in the optimizer's order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for parameter in _parameters(optimizer)]


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
        for key, value in state.items()
    }
