"""Gradient saliency: how strongly the loss reacts to each pixel of the network's input."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saliencymixplus.mixing.checks import high_precision, logits_of
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, binary_cross_entropy
from saliencymixplus.mixing.draws import mapped_size

Autocast = Callable[[], AbstractContextManager[object]]
SaliencyLoss = Literal["cross_entropy", "binary"]


def absolute_sum(gradient: Tensor) -> Tensor:
    """Σ |g| over the channels of (B, C, H, W): (B, H, W), at least float32."""
    return gradient.abs().to(high_precision(gradient.dtype)).sum(1)


def absolute_mean(gradient: Tensor) -> Tensor:
    """Mean |g| over the channels of (B, C, H, W): (B, H, W), at least float32."""
    return absolute_sum(gradient) / gradient.shape[1]


def root_mean_square(gradient: Tensor) -> Tensor:
    """√(mean g²) over the channels of (B, C, H, W): (B, H, W), at least float32."""
    return gradient.to(high_precision(gradient.dtype)).square().mean(1).sqrt()


def gradient_saliency(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mode: Literal["eval", "train"] = "eval",
    batch_norm: Literal["untouched", "updated"] = "untouched",
    resolution: float = 1.0,
    fraction: float = 1.0,
    trust: Literal["always", "correct"] = "always",
    aggregate: Callable[[Tensor], Tensor] = absolute_sum,
    loss: SaliencyLoss = "cross_entropy",
    autocast: Autocast = nullcontext,
    parameters: Sequence[Tensor] = (),
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """S = Σ_channels |∂ mean loss / ∂ image| (Simonyan et al. 2014, arXiv:1312.6034).

    Computes no gradients but those of the images and ``parameters``, and changes no ``.grad``.
    Inside ``torch.compile(fullgraph=True)`` this needs ``torch._dynamo.config.trace_autograd_ops``;
    ``mixing.backward`` runs it outside, on the plain or the compiled module.

    Args:
        images: (B, C, H, W), never changed.
        labels: (B,) int64 or (B, K) float.
        mode: how dropout and batch normalisation behave in this pass.
        batch_norm: ``untouched`` leaves all buffers of the model unchanged.
        resolution: scale of the images in this pass, whose cost grows with its square; the maps are
            resized back.
        fraction: only this fraction of the batch, from its start, goes through the pass (see
            ``draws.mapped_size``); the maps of the other images are zero.
        trust: ``correct`` zeroes the maps of images that this pass misclassifies.
        aggregate: turns the gradient (B, C, H, W) into maps (B, H, W).
        loss: ``cross_entropy``, or ``binary``, the binary cross-entropy of each class's
            probability, averaged over images and classes.
        parameters: tensors to also compute the gradient for, in the same pass.

    Returns:
        The maps (B, H, W), in at least float32, and the gradients of ``parameters``.

    Raises:
        ValueError: the output does not depend differentiably on the images, or the call is inside
            a transform such as ``torch.func.grad``.
    """
    batch_size, _, height, width = images.shape
    count = mapped_size(batch_size, fraction)
    inputs, labels = images[:count].detach(), labels[:count]
    if resolution != 1.0:
        small = (max(1, round(height * resolution)), max(1, round(width * resolution)))
        scaled = F.interpolate(inputs.float(), size=small, mode="bilinear", antialias=True)
        inputs = scaled.to(images.dtype)
    try:
        inputs = inputs.requires_grad_()
    except RuntimeError as error:
        raise ValueError(
            "the network's saliency cannot be taken inside torch.func.grad or another transform: "
            "take it outside with gradient_saliency and pass saliency="
        ) from error
    with torch.enable_grad(), pass_mode(model, mode, batch_norm):
        with autocast():
            logits = logits_of(model(inputs))
        value = (CROSS_ENTROPY if loss == "cross_entropy" else binary_cross_entropy)(logits, labels)
        gradients: tuple[Tensor | None, ...] = (None,)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, [inputs, *parameters], allow_unused=True)
        gradient = gradients[0]
    if gradient is None:
        raise ValueError(
            "the network's output does not depend differentiably on the images, which its saliency "
            "needs: look for detach(), no_grad(), inference_mode() or an output that ignores its "
            "input"
        )
    saliency = aggregate(gradient)
    if trust == "correct":
        actual = labels if labels.ndim == 1 else labels.argmax(1)
        saliency = saliency * (logits.argmax(1) == actual)[:, None, None]
    if resolution != 1.0:
        maps = F.interpolate(saliency[:, None], size=(height, width), mode="bilinear")
        saliency = maps[:, 0]
    if count < batch_size:
        saliency = F.pad(saliency, (0, 0, 0, 0, 0, batch_size - count))
    return saliency, tuple(gradients[1:])


def input_only(model: nn.Module) -> nn.Module:
    """A copy of the network that shares its memory, but whose weights require no gradient.

    For the saliency pass, as a compiled network computes the gradients of all weights that require
    one, even if only the input's is needed. The copy follows the weights of ``model`` as long as
    these change in place, as by optimizers and ``load_state_dict``.
    """
    shared: dict[int, object] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        shared[id(weight)] = nn.Parameter(weight.detach(), requires_grad=False)
    return copy.deepcopy(model, shared)


@contextmanager
def pass_mode(
    model: nn.Module, mode: Literal["eval", "train"], batch_norm: Literal["untouched", "updated"]
) -> Iterator[None]:
    """Put every module into a mode for one pass, then restore each module's own mode.

    ``untouched`` makes batch normalisation (also synchronised) use the statistics of the batch
    without recording them; all other buffers are restored afterwards.
    """
    norms: list[_BatchNorm] = []
    kept: list[tuple[Tensor, Tensor]] = []
    if batch_norm == "untouched":
        modules = list(model.modules())
        if mode == "train":
            norms = [m for m in modules if isinstance(m, _BatchNorm) and m.track_running_stats]
        others = [m for m in modules if not isinstance(m, _BatchNorm)]
        kept = [(b, b.clone()) for m in others for b in m.buffers(recurse=False)]
    with in_mode(model, mode):
        try:
            for norm in norms:
                norm.track_running_stats = False
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)


@contextmanager
def in_mode(model: nn.Module, mode: Literal["eval", "train"]) -> Iterator[None]:
    """Put every module into a mode, then restore each module's own mode."""
    modules = list(model.modules())
    training = [module.training for module in modules]
    try:
        # If the model is in training mode, its layers in evaluation mode are frozen and stay so.
        whole = not model.training
        for module, was in zip(modules, training, strict=True):
            # Not module.train(): a frozen layer may override it, and would not be restored.
            module.training = mode == "train" and (was or whole)
        yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def smooth(saliency: Tensor, sigma: float, taps: int = 0) -> Tensor:
    """Gaussian blur of maps (B, H, W) with σ in pixels, in at least float32.

    The kernel is truncated at 3σ and the edges are repeated. With an odd number of ``taps``, the
    kernel has that width instead and the edges are reflected (repeated if the maps are too small);
    it is then not separated, so that the result equals that of the released code bit for bit.
    """
    if sigma <= 0:
        return saliency
    maps = saliency.to(high_precision(saliency.dtype))[:, None]
    if not taps:
        radius = math.ceil(3 * sigma)
        return gaussian(F.pad(maps, (radius,) * 4, mode="replicate"), sigma, radius)[:, 0]
    kernel = _bell(sigma, taps // 2, maps)
    return F.conv2d(padded(maps, taps // 2), torch.outer(kernel, kernel)[None, None])[:, 0]


def padded(maps: Tensor, by: int) -> Tensor:
    """Pad maps (B, 1, H, W) by reflection, or by repeating the edges if they are too small."""
    mode = "reflect" if min(maps.shape[2:]) > by else "replicate"
    return F.pad(maps, (by, by, by, by), mode=mode)


def gaussian(maps: Tensor, sigma: float, radius: int) -> Tensor:
    """Separable Gaussian blur of maps (B, 1, H + 2·radius, W + 2·radius): (B, 1, H, W)."""
    kernel = _bell(sigma, radius, maps)
    maps = F.conv2d(maps, kernel[None, None, None, :])
    return F.conv2d(maps, kernel[None, None, :, None])


def _bell(sigma: float, radius: int, like: Tensor) -> Tensor:
    offsets = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return kernel / kernel.sum()
