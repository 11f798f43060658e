"""Create networks by name: CIFAR networks, torchvision's classifiers and timm's."""

from typing import Any, Literal

from torch import nn

from saliencymixplus.errors import UserError, nearest, one_line
from saliencymixplus.models.layers import meta_logits
from saliencymixplus.models.small_images import NETWORKS
from saliencymixplus.models.stem import SMALL_UP_TO, has_small_stem, make_small_stem

__all__ = ["create_model", "has_zero_init", "model_names", "parameter_count"]

_TIMM = "timm/"
_DROP_PATH = ("stochastic_depth_prob", "drop_path_rate")  # its name in torchvision, in timm
_ZERO_INIT = ("resnet", "resnext", "wide_resnet")  # families that take `zero_init_residual`


def model_names() -> list[str]:
    """All names that ``create_model`` accepts, except ``timm/NAME``; see ``timm.list_models``."""
    models = _torchvision_models()
    return [*NETWORKS, *models.list_models(module=models)]


def parameter_count(model: nn.Module) -> int:
    """The number of trainable parameters of ``model``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def has_zero_init(name: str) -> bool:
    """Whether the network takes ``zero_init_residual``."""
    return name not in NETWORKS and name.startswith(_ZERO_INIT)


def create_model(
    name: str,
    num_classes: int,
    image_size: int | tuple[int, int],
    stem: str = "auto",
    drop_path: float = 0.0,
    zero_init_residual: bool | Literal["auto"] = False,
) -> nn.Module:
    """Create an untrained network; torch's global generator draws its weights.

    Args:
        image_size: side, or (height, width), of the input in pixels.
        stem: ``small`` replaces the first layers by a 3×3 stride-1 convolution without max-pooling,
            ``standard`` keeps them, ``auto`` is small up to 64 pixels in families that support it.
        drop_path: largest probability of skipping a residual branch (stochastic depth), in training
            mode only.
        zero_init_residual: set the scale of each residual branch's last batch norm to zero (Goyal
            et al. 2017, arXiv:1706.02677, section 5.1); for torchvision's ResNets. ``auto`` does it
            for these only.

    Raises:
        UserError: the name is unknown, the family has no drop path, small stem or
            ``zero_init_residual``, or the network does not accept images of this size.
    """
    if zero_init_residual == "auto":
        zero_init_residual = has_zero_init(name)
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if name in NETWORKS:
        if drop_path:
            raise _no_drop_path(name)
        if zero_init_residual:
            raise _no_zero_init(name)
        return NETWORKS[name](num_classes)
    is_timm = name.startswith(_TIMM)
    if not is_timm and name not in model_names():
        raise UserError(f"no model is called {name!r}: {nearest(name, model_names())}")
    can_be_small = not is_timm and has_small_stem(name)
    if stem == "small" and not can_be_small:
        raise UserError(f"{name} has no small-image stem: set model.stem to standard, or auto")
    if zero_init_residual and not has_zero_init(name):
        raise _no_zero_init(name)
    build = _build_timm if is_timm else _build_torchvision
    in_torchvision, in_timm = _DROP_PATH
    options: dict[str, Any] = {}
    if drop_path:
        options[in_timm if is_timm else in_torchvision] = drop_path
    if zero_init_residual:
        options["zero_init_residual"] = True
    try:
        model = build(name, num_classes, height, width, options)
    except TypeError as error:
        if drop_path and any(option in str(error) for option in _DROP_PATH):
            raise _no_drop_path(name) from error
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _refusal(name, height, width, error) from error
    if stem == "small" or (can_be_small and stem == "auto" and max(height, width) <= SMALL_UP_TO):
        make_small_stem(model, name)
    _try(model, name, num_classes, height, width)
    return model


def _torchvision_models() -> Any:
    """Import torchvision's models only when needed: it takes a second or two."""
    from torchvision import models

    return models


def _build_torchvision(
    name: str, num_classes: int, height: int, width: int, options: dict[str, Any]
) -> nn.Module:
    if name in ("googlenet", "inception_v3"):
        # Without auxiliary heads the output is a single tensor in training mode, too.
        options = {"aux_logits": False, "init_weights": False, **options}
    elif name.startswith("vit_"):
        if height != width:
            raise UserError(f"{name} takes square images only, not {height}×{width}")
        options = {"image_size": height, **options}
    elif name.startswith("maxvit"):
        options = {"input_size": (height, width), **options}
    model: nn.Module = _torchvision_models().get_model(
        name, weights=None, num_classes=num_classes, **options
    )
    return model


def _build_timm(
    name: str, num_classes: int, height: int, width: int, options: dict[str, Any]
) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise UserError(f"{name} needs timm: pip install 'saliencymixplus[models]'") from error
    known = name.removeprefix(_TIMM)
    if not timm.is_model(known):
        raise UserError(f"timm has no model called {known!r}: {nearest(known, timm.list_models())}")
    try:
        size = (height, width)
        return timm.create_model(known, num_classes=num_classes, img_size=size, **options)
    except TypeError:  # networks for images of any size do not have this argument
        return timm.create_model(known, num_classes=num_classes, **options)


def _try(model: nn.Module, name: str, num_classes: int, height: int, width: int) -> None:
    """Run the model on the meta device, so that an unsuitable image size is an error here."""
    try:
        logits = meta_logits(model, 2, (height, width))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _refusal(name, height, width, error) from error
    if tuple(logits.shape) != (2, num_classes):
        raise UserError(
            f"{name} returns logits of shape {tuple(logits.shape)} instead of (2, {num_classes}): "
            "set another model.name"
        )


def _no_drop_path(name: str) -> UserError:
    return UserError(f"{name} has no drop path: set model.drop_path to 0")


def _no_zero_init(name: str) -> UserError:
    return UserError(
        f"model.zero_init_residual is for torchvision's ResNets, not for {name}: set it to false"
        + (", as timm's ResNets start at zero anyway" if name.startswith(_TIMM) else "")
    )


def _refusal(name: str, height: int, width: int, error: Exception) -> UserError:
    return UserError(
        f"{name} cannot take images of {height}×{width} pixels ({one_line(error, 120)}): "
        "set another data.image_size, training.crop_size or model"
    )
