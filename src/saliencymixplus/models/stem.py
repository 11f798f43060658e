"""Stems for small images: a 3×3 stride-1 convolution without max-pooling."""

from typing import Any

from torch import nn

SMALL_UP_TO = 64  # pixels: the largest image side for which `stem: auto` is small


def _small(conv: Any) -> nn.Conv2d:
    """A 3×3 stride-1 convolution to replace ``conv``, initialised as in He et al. 2015."""
    new = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, bias=conv.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


# The first convolution and the max-pool after it, by the beginning of the name. VGG starts
# with 3×3 stride-1 convolutions already.
_FAMILIES: dict[str, tuple[str | None, str | None]] = {
    "alexnet": ("features.0", "features.2"),
    "convnext": ("features.0.0", None),
    "densenet": ("features.conv0", "features.pool0"),
    "efficientnet": ("features.0.0", None),
    "googlenet": ("conv1.conv", "maxpool1"),
    "mnasnet": ("layers.0", None),
    "mobilenet": ("features.0.0", None),
    "regnet": ("stem.0", None),
    "resnet": ("conv1", "maxpool"),
    "resnext": ("conv1", "maxpool"),
    "shufflenet": ("conv1.0", "maxpool"),
    "squeezenet": ("features.0", "features.2"),
    "vgg": (None, None),
    "wide_resnet": ("conv1", "maxpool"),
}


def has_small_stem(name: str) -> bool:
    """Whether the torchvision model ``name`` can have a small-image stem."""
    return name.startswith(tuple(_FAMILIES))


def make_small_stem(model: nn.Module, name: str) -> None:
    """Give the torchvision model ``name`` its small-image stem."""
    conv, pool = next(found for family, found in _FAMILIES.items() if name.startswith(family))
    if conv is not None:
        model.set_submodule(conv, _small(model.get_submodule(conv)))
    if pool is not None:
        model.set_submodule(pool, nn.Identity())
