"""Parts of a network that recipes treat differently: head, layers, parameters without decay."""

import math
import re
from copy import deepcopy
from importlib import import_module
from itertools import chain
from typing import Any

import torch
from torch import nn

from saliencymixplus.mixing.trained_part import PART


def meta_logits(model: nn.Module, batch_size: int, size: tuple[int, int]) -> Any:
    """What ``model`` returns for images of ``size`` (H, W) on the meta device: shapes only."""
    # A copy with empty tensors. `functional_call` leaves these in modules with two names (CoaT).
    tensors = [*model.parameters(), *model.buffers()]
    shapes = deepcopy(model, {id(tensor): tensor.detach().to("meta") for tensor in tensors})
    with torch.no_grad():
        return shapes(torch.empty(batch_size, 3, *size, device="meta"))


def without_decay(model: nn.Module) -> set[str]:
    """Names of the parameters without weight decay, as ``timm.optim.param_groups_weight_decay``.

    These are biases, norms and other vectors, and those that the network itself excludes, such as
    the position embedding of timm's vision transformers.
    """
    own: Any = getattr(model, "no_weight_decay", set)
    excluded = own()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or name.endswith(".bias") or name in excluded
    }


def backbone(model: nn.Module) -> list[nn.Module]:
    """All modules with parameters or buffers of their own, except the last one, the head.

    A module that a mixing method trains along with the network is excluded.
    """
    modules = [
        module
        for name, module in model.named_modules()
        if name.split(".")[0] != PART
        and any(True for _ in chain(module.parameters(False), module.buffers(False)))
    ]
    return modules[:-1]


def lr_scales(model: nn.Module, backbone_lr: float, layer_decay: float) -> dict[str, float]:
    """Learning rate by parameter name, as a fraction of the head's; 1 for names not included.

    Args:
        backbone_lr: fraction for all parameters outside the head.
        layer_decay: each layer's rate as a fraction of the next layer's. timm's networks have
            timm's layers (``timm.optim.param_groups_layer_decay``), torchvision's ViT, Swin and
            ConvNeXt the same, and in other networks each top-level module is a layer.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if backbone_lr < 1:
        parameters = (p for module in backbone(model) for p in module.parameters(False))
        return {names[id(parameter)]: backbone_lr for parameter in parameters}
    if layer_decay == 1:
        return {}
    if hasattr(model, "group_matcher"):
        optim: Any = import_module("timm.optim")
        groups = optim.param_groups_layer_decay(model, layer_decay=layer_decay)
        return {
            names[id(p)]: group["lr_scale"]
            for group in groups
            for p in group["params"]
            if not names[id(p)].startswith(f"{PART}.")
        }
    depths = _depths(model)
    top = max(depths.values())
    return {name: layer_decay ** (top - depth) for name, depth in depths.items()}


def _depths(model: nn.Module) -> dict[str, int]:
    """The layer of each parameter, counted from the input, by parameter name."""
    names = [name for name, _ in model.named_parameters() if name.split(".")[0] != PART]
    kind = type(model)
    if kind.__module__.startswith("torchvision.") and kind.__name__ in _WITH_BLOCKS:
        places = {name: _block(name) for name in names}
        order = sorted({*places.values()} - {_NORM})
        # As in timm, the norm after the last block belongs to that block.
        return {n: len(order) - 2 if p == _NORM else order.index(p) for n, p in places.items()}
    modules = list(dict.fromkeys(name.split(".")[0] for name in names))
    return {name: modules.index(name.split(".")[0]) for name in names}


_WITH_BLOCKS = ("ConvNeXt", "SwinTransformer", "VisionTransformer")
_STEM, _NORM, _HEAD = (0.0, 0), (math.inf, 0), (math.inf, 1)


def _block(name: str) -> tuple[float, int]:
    """The stage and block of a parameter of torchvision's networks ``_WITH_BLOCKS``.

    As in timm, downsampling layers between two stages belong to the first block after them.
    """
    if found := re.match(r"encoder\.layers\.encoder_layer_(\d+)\.", name):
        return 1.0, int(found[1])
    if found := re.match(r"features\.([1-9]\d*)\.(?:(\d+)\.)?", name):
        stage = int(found[1])
        return (float(stage), int(found[2])) if stage % 2 else (stage + 1.0, 0)
    if name.startswith(("encoder.ln.", "norm.")):
        return _NORM
    return _HEAD if name.startswith(("classifier.", "head.", "heads.")) else _STEM
