"""What recipes treat apart in a network: its head, its depth, and what takes no weight decay."""

from typing import Any

from torch import nn


def without_decay(model: nn.Module) -> set[str]:
    """Names of the parameters that timm's recipes exempt from weight decay.

    Biases, norms and other vectors, and what the network itself excludes, such as a timm vision
    transformer's position embedding (as ``timm.optim.param_groups_weight_decay``).
    """
    own: Any = getattr(model, "no_weight_decay", set)
    excluded = own()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1 or name.endswith(".bias") or name in excluded
    }
