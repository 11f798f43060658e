"""One training step up to the optimizer: saliency pass, mixing, forward, loss, backward."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.batch import MixedBatch
from saliencymixplus.mixing.checks import checked_labels, logits_of
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, Criterion
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.features import unwrapped
from saliencymixplus.mixing.mixer import Mixer
from saliencymixplus.mixing.saliency import Autocast, gradient_saliency, pass_mode
from saliencymixplus.mixing.trained_part import part_of


@dataclass(frozen=True)
class Step:
    """The results of a step, besides the gradients."""

    loss: Tensor  # scalar, detached
    logits: Tensor  # (M, K), detached
    mixed: MixedBatch | None  # None if the batch was not mixed


def backward(
    model: nn.Module,
    mixer: Mixer,
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    saliency: Tensor | None = None,
    masks: Tensor | None = None,
    draw: Draw | None = None,
    mix: bool = True,
    use_saliency: bool = True,
    saliency_model: nn.Module | None = None,
    autocast: Autocast | None = None,
    parameters: Iterable[nn.Parameter] | None = None,
    criterion: Criterion = CROSS_ENTROPY,
) -> Step:
    """Add the gradients of one step to ``.grad``, which the caller zeroes beforehand.

    Never waits for the device, so that the whole step can be captured in a CUDA graph, except for
    methods whose ``options.on_device`` is false.

    Args:
        model: the network in training; may be compiled or ``DistributedDataParallel``.
        images: (B, C, H, W); labels: (B,) int64 or (B, K) float.
        saliency: (B, H, W) maps, if the mixer needs stored ones; for a mixer that needs the model,
            they replace its saliency pass.
        masks: (B, H, W) object masks, if the mixer needs them.
        mix: False: train on the unmixed batch.
        use_saliency: False: replace the pass for gradient saliency by maps of zeros, so that boxes
            are placed at random and labels follow areas. For ``saliency_every``; methods that use
            feature maps are not affected.
        saliency_model: network of the saliency pass, such as a compiled ``input_only`` one or, with
            ``saliency_weights: average``, the moving average of the weights (default: ``model``
            itself, unwrapped).
        autocast: creates the context of the forward passes.
        parameters: those that the clean pass adds gradients to (default: all of ``model``).
        criterion: the loss of the plain, mixed and clean pass; the saliency pass has the method's
            own loss.

    Raises:
        ValueError: something that the mixer needs is missing.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
        >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> mixer = create("saliencymixplus", variant="published")
        >>> step = backward(network, mixer, torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> optimizer.step()
        >>> step.mixed.images.shape  # half of the batch with the other half
        torch.Size([2, 3, 8, 8])
    """
    labels = checked_labels(images, labels)
    context = autocast or nullcontext
    member = 0
    if mix:
        member = mixer.choose(generator) if draw is None else draw.member
        saliency = mixer.maps_for(member, saliency)
        mixer = mixer.members[member]
    if not mix or mixer.method == "none":
        with context():
            logits = logits_of(model(images))
        loss = criterion(logits, labels)
        loss.backward()
        return Step(loss.detach(), logits.detach(), None)
    local = unwrapped(model)
    trained = [p for p in (parameters or local.parameters()) if p.requires_grad]
    if "gradient_saliency" in mixer.needs and saliency is None and not use_saliency:
        shape = (len(images), *images.shape[2:])
        saliency = torch.zeros(shape, dtype=torch.float32, device=images.device)
    saliency = _before_mixing(
        mixer, local, saliency_model, images, labels, saliency, context, trained, criterion
    )
    network = saliency_model if saliency_model is not None else local
    if draw is None:
        height, width = images.shape[2:]
        draw = mixer.draw(len(images), height, width, generator=generator, device=images.device)
    mixed = mixer(
        images,
        labels,
        model=network if "network" in mixer.needs else None,
        saliency=saliency,
        masks=masks,
        draw=draw,
        part=part_of(local) if mixer.trains_part else None,
    )
    mixed = replace(mixed, clean_gradient=0.0, member=member)  # clean gradient: already added
    with context():
        output, mixed = mixer.forward(model, mixed)
    logits = logits_of(output)
    loss = mixer.loss(mixed, logits, criterion)
    total = loss
    if mixer.trains_part:
        with context():
            total = loss + mixer.part_loss(local, network, images, labels, draw)
    total.backward()
    return Step(loss.detach(), logits.detach(), mixed)


def _before_mixing(
    mixer: Mixer,
    local: nn.Module,
    saliency_model: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    saliency: Tensor | None,
    context: Autocast,
    trained: Sequence[nn.Parameter],
    criterion: Criterion,
) -> Tensor | None:
    """Compute gradient saliency and add the clean gradient, in a single pass if possible."""
    weight, options = mixer.options.clean_gradient, mixer.options
    if "gradient_saliency" in mixer.needs and saliency is None:
        settings = mixer.saliency_options()
        if one_pass(mixer, criterion):
            saliency, gradients = gradient_saliency(
                local, images, labels, autocast=context, parameters=trained, **settings
            )
            _accumulate(trained, gradients, weight)
            return saliency
        if saliency_model is None and options.saliency_weights == "average":
            raise ValueError("saliency_weights: average needs the average as saliency_model")
        # Not `or`, which asks a compiled module for its length; most networks have none.
        source = local if saliency_model is None else saliency_model
        saliency, _ = gradient_saliency(source, images, labels, autocast=context, **settings)
    if weight > 0:
        # The mixed pass updates batch-norm statistics; this one does so only if set.
        with pass_mode(local, "train", options.batch_norm):
            with context():
                logits = logits_of(local(images))
            loss = criterion(logits, labels)
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        _accumulate(trained, gradients, weight)
    return saliency


def one_pass(mixer: Mixer, criterion: Criterion = CROSS_ENTROPY) -> bool:
    """Whether a step's saliency pass also yields its clean gradient, as in the published code."""
    options = mixer.options
    return (
        "gradient_saliency" in mixer.needs
        and options.clean_gradient > 0
        and options.saliency_mode == "train"
        and options.saliency_weights == "current"
        and options.saliency_loss == "cross_entropy"
        and criterion == CROSS_ENTROPY
        and options.saliency_resolution == options.saliency_fraction == 1.0
    )


def passes(
    mixer: Mixer, *, use_saliency: bool = True, criterion: Criterion = CROSS_ENTROPY
) -> float:
    """The cost of a mixed step, in forward-backward passes of a whole batch at full resolution.

    A pass for the images' gradient alone counts as one, though it costs a third less. For a switch,
    the mean over its members.
    """
    if len(mixer.members) > 1:
        members = zip(mixer.probabilities, mixer.members, strict=True)
        return sum(
            probability * passes(member, use_saliency=use_saliency, criterion=criterion)
            for probability, member in members
        )
    if mixer.method == "none":
        return 1.0
    options = mixer.options
    clean = 1.0 if options.clean_gradient > 0 else 0.0
    saliency = 0.0
    if "network" in mixer.needs:
        saliency = 1 / 3  # a forward pass
    elif mixer.needs_model and use_saliency and not one_pass(mixer, criterion):
        saliency = options.saliency_fraction * options.saliency_resolution**2
    mixed = 0.5 if options.pairs == "half" else 1.0
    return mixed + clean + saliency + options.part_passes


def _accumulate(
    parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], weight: float
) -> None:
    """Add ``weight`` times the gradients to ``.grad``.

    Not by ``backward()``, which would run DistributedDataParallel's hooks. The mixed pass reduces
    the sum over all processes, as in gradient accumulation.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            parameter.grad = gradient.detach().clone() if weight == 1.0 else gradient * weight
        else:
            parameter.grad.add_(gradient, alpha=weight)
