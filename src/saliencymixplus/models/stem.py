"""Stems for small images: a 3×3 stride-1 convolution without max-pooling."""

from collections.abc import Callable
from typing import Any

from torch import nn

SMALL_UP_TO = 64  # pixels: the largest image side for which `stem: auto` is small


def _small(conv: nn.Conv2d) -> nn.Conv2d:
    """A 3×3 stride-1 convolution to replace ``conv``, initialised as in He et al. 2015."""
    new = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, bias=conv.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


def _resnet(model: Any) -> None:
    model.conv1 = _small(model.conv1)
    model.maxpool = nn.Identity()


def _densenet(model: Any) -> None:
    features = model.features
    features.conv0 = _small(features.conv0)
    features.pool0 = nn.Identity()


def _first_of_features(model: Any) -> None:
    first = model.features[0]
    first[0] = _small(first[0])


def _features_with_pool(model: Any) -> None:
    features = model.features
    features[0] = _small(features[0])
    features[2] = nn.Identity()


def _mnasnet(model: Any) -> None:
    model.layers[0] = _small(model.layers[0])


def _regnet(model: Any) -> None:
    model.stem[0] = _small(model.stem[0])


def _shufflenet(model: Any) -> None:
    model.conv1[0] = _small(model.conv1[0])
    model.maxpool = nn.Identity()


def _googlenet(model: Any) -> None:
    model.conv1.conv = _small(model.conv1.conv)
    model.maxpool1 = nn.Identity()


def _as_it_is(model: Any) -> None:
    """VGG already starts with 3×3 stride-1 convolutions."""


_FAMILIES: dict[str, Callable[[Any], None]] = {
    "alexnet": _features_with_pool,
    "convnext": _first_of_features,
    "densenet": _densenet,
    "efficientnet": _first_of_features,
    "googlenet": _googlenet,
    "mnasnet": _mnasnet,
    "mobilenet": _first_of_features,
    "regnet": _regnet,
    "resnet": _resnet,
    "resnext": _resnet,
    "shufflenet": _shufflenet,
    "squeezenet": _features_with_pool,
    "vgg": _as_it_is,
    "wide_resnet": _resnet,
}


def small_stem_for(name: str) -> Callable[[Any], None] | None:
    """The function that gives the torchvision model ``name`` a small stem, if there is one."""
    for family, change in _FAMILIES.items():
        if name.startswith(family):
            return change
    return None
