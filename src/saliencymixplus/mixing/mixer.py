"""The mixer: draws the random numbers of a method and applies them to a batch."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing import draws
from saliencymixplus.mixing.batch import MixedBatch, Sources, memory_format, select
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.options import as_json, resolve
from saliencymixplus.mixing.registry import Method, find
from saliencymixplus.mixing.saliency import gradient_saliency, smooth


class Mixer:
    """One mixing method with all its options fixed. Holds no state.

    ``clean_gradient`` and ``saliency_weights`` take effect in ``mixing.backward`` only, and
    ``saliency_every`` through its ``guided``.

    Attributes:
        method: its name in ``METHODS``.
        options: every option, resolved, as JSON values.
        needs_model: it takes the saliency of a network: pass ``model`` (or ``saliency``).
        needs_saliency: it takes stored saliency maps: pass ``saliency``.
    """

    def __init__(self, method: str, **options: Any) -> None:
        self._method = find(method)
        self.choice = resolve(self._method.options, options)
        self.method = method
        self.options = as_json(self.choice)
        self.needs_model: bool = self._method.needs_model(self.choice)
        self.needs_saliency: bool = self._method.needs_saliency(self.choice)
        self._mix: Callable[..., dict[str, Any]] = _mix
        self._loss: Callable[[MixedBatch, Tensor], Tensor] = MixedBatch.loss

    def compiled(self, **how: Any) -> "Mixer":
        """The same mixer, whose arithmetic goes through ``torch.compile(…, **how)``.

        Its random numbers, its maps and greedy partners don't: a draw with a generator cannot be
        compiled, and partners chosen one after the other take long to.
        """
        found = copy.copy(self)
        found._mix = torch.compile(_mix, **how)
        found._loss = torch.compile(MixedBatch.loss, **how)
        return found

    def loss(self, mixed: MixedBatch, logits: Tensor) -> Tensor:
        """``mixed.loss(logits)``, compiled where the mixer is."""
        return self._loss(mixed, logits)

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"Mixer({self.method!r}{', ' if chosen else ''}{chosen})"

    def draw(
        self,
        batch_size: int,
        height: int,
        width: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Draw:
        """All random numbers of one mixing of ``batch_size`` images, on ``device``."""
        where = torch.device(device if device is not None else "cpu")
        source: dict[str, Any] = {"generator": generator, "device": where}
        if self._method.apply is None:
            return Draw(torch.arange(batch_size, device=where))
        share = self.options.get("saliency_share", 1.0)
        index_b = draws.partners(batch_size, self.options["pairs"], share=share, **source)
        count = index_b.shape[0] if self.choice.per_sample else 1
        noise = None
        if self._method.noise is not None:
            noise = draws.normal((count, *self._method.noise(self.choice, height, width)), **source)
        return Draw(
            index_b=index_b,
            lam0=draws.beta(self.options.get("alpha", 1.0), count, **source),
            centre=draws.centres(count, height, width, **source),
            uniform=draws.uniform((count, 2), **source),
            noise=noise,
        )

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        model: nn.Module | None = None,
        saliency: Tensor | None = None,
        draw: Draw | None = None,
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, C, H, W), any dtype and memory format; never changed.
            labels: (B,) int64 or (B, K) float.
            generator: of the random numbers; on the CPU or on the images' device.
            model: the network, where ``needs_model``.
            saliency: (B, H, W) maps; where given, they replace the method's own.
            draw: the random numbers, instead of drawing them.

        Raises:
            ValueError: shapes that do not fit, or a model or map that is missing.
        """
        self._check(images, labels, saliency, model)
        batch_size, _, height, width = images.shape
        if draw is None:
            draw = self.draw(batch_size, height, width, generator=generator, device=images.device)
        if self._method.apply is None:
            return _unmixed(images, labels, draw)
        if saliency is None and self.needs_model:
            assert model is not None
            saliency, _ = gradient_saliency(model, images, labels, **self.saliency_options())
        # Half precision would lose the boxes' arithmetic and the maps' small values.
        with torch.autocast(images.device.type, enabled=False), torch.no_grad():
            if saliency is None and self._method.maps is not None:
                saliency = self._method.maps(images, self.choice)
            if saliency is not None:
                sigma = self.options.get("smoothing", 0.0)
                taps = self.options.get("smoothing_taps", 0)
                saliency = smooth(saliency.detach(), sigma, taps)
            if saliency is not None and self._method.pair is not None:
                partners = self._method.pair(saliency, self.options["pairs"])
                draw = draw if partners is None else replace(draw, index_b=partners)
            found = self._mix(self._method, self.choice, images, labels, saliency, draw)
        return MixedBatch(**found, index_b=draw.index_b, saliency=saliency)

    def saliency_options(self) -> dict[str, Any]:
        """How ``gradient_saliency`` is to be called."""
        return {
            "mode": self.options["saliency_mode"],
            "batch_norm": self.options["batch_norm"],
            "resolution": self.options["saliency_resolution"],
            "share": self.options["saliency_share"],
        }

    def _check(
        self, images: Tensor, labels: Tensor, saliency: Tensor | None, model: nn.Module | None
    ) -> None:
        if images.ndim != 4 or images.shape[0] == 0:
            raise ValueError(f"images must be (B, C, H, W) with B ≥ 1, not {tuple(images.shape)}")
        if labels.ndim not in (1, 2) or labels.shape[0] != images.shape[0]:
            raise ValueError(
                f"labels {tuple(labels.shape)} do not fit images {tuple(images.shape)}: "
                "give (B,) indices or (B, K) shares"
            )
        if saliency is not None:
            expected = (images.shape[0], *images.shape[2:])
            if tuple(saliency.shape) != expected:
                raise ValueError(f"saliency must be {expected}, not {tuple(saliency.shape)}")
        elif self.needs_model and not images.is_floating_point():
            raise ValueError(
                f"{self.method} takes the gradient of images: give floats, not {images.dtype}, "
                "or saliency="
            )
        elif self.needs_model and model is None:
            raise ValueError(
                f"{self.method} takes the network's saliency: pass model= or saliency="
            )
        elif self.needs_saliency:
            raise ValueError(f"{self.method} takes stored saliency maps: pass saliency=")


def create(method: str, **options: Any) -> Mixer:
    """A mixer; options that are left out or None are as its variant says.

    Raises:
        ValueError: an unknown method, option or value; one line with the nearest name.
    """
    return Mixer(method, **options)


def collate(
    mixer: Mixer, *, generator: torch.Generator | None = None
) -> Callable[[Sequence[Any]], MixedBatch]:
    """A ``collate_fn`` that stacks samples ``(image, label[, saliency])`` and mixes them.

    For methods that need no model. Without a generator each ``DataLoader`` worker draws from its
    own seed.
    """
    if mixer.needs_model:
        raise ValueError(f"{mixer.method} needs the network: mix in the training loop instead")

    def stack(samples: Sequence[Any]) -> MixedBatch:
        images, labels, *maps = torch.utils.data.default_collate(list(samples))
        return mixer(images, labels, saliency=maps[0] if maps else None, generator=generator)

    return stack


def _mix(
    method: Method,
    choice: Any,
    images: Tensor,
    labels: Tensor,
    saliency: Tensor | None,
    draw: Draw,
) -> dict[str, Any]:
    """The fields of the mixed batch; nothing in it waits for the device."""
    assert method.apply is not None
    height, width = images.shape[2:]
    b = select(images, draw.index_b)
    blend = method.apply(Sources(images[: draw.size], b, draw.index_b, saliency), draw, choice)
    mask = blend.mask.float()
    area_lam = 1.0 - mask.mean((1, 2, 3))
    lam = area_lam if blend.lam is None else blend.lam.float()
    return {
        "images": blend.images.contiguous(memory_format=memory_format(images)),
        "labels_a": labels[: draw.size],
        "labels_b": labels.index_select(0, draw.index_b),
        "lam": lam.expand(draw.size).contiguous(),
        "index_a": torch.arange(draw.size, device=images.device),
        "area_lam": area_lam.expand(draw.size).contiguous(),
        "mask": mask.expand(draw.size, 1, height, width),
        "boxes": _rows(blend.boxes, draw.size),
        "source_boxes": _rows(blend.source_boxes, draw.size),
        "reduction": blend.reduction,
    }


def _rows(boxes: Tensor | None, count: int) -> Tensor | None:
    return None if boxes is None else boxes.expand(count, 4).contiguous()


def _unmixed(images: Tensor, labels: Tensor, draw: Draw) -> MixedBatch:
    whole = torch.ones(images.shape[0], device=images.device)
    return MixedBatch(images, labels, labels, whole, draw.index_b, draw.index_b, whole)
