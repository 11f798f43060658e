"""The mixer: draws the random numbers of a method and applies them to a batch."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus.mixing import draws
from saliencymixplus.mixing.apply import mixed_fields, unmixed
from saliencymixplus.mixing.batch import Batch, MixedBatch
from saliencymixplus.mixing.checks import check_map, checked_labels
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, Criterion
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.options import MASK_LABELS, as_json
from saliencymixplus.mixing.registry import settle
from saliencymixplus.mixing.saliency import gradient_saliency, smooth
from saliencymixplus.mixing.trained_part import PART, new_part, part_of


class Mixer:
    """One mixing method with all its options fixed. Holds no state.

    ``clean_gradient`` and ``saliency_weights`` take effect in ``mixing.backward`` only, and
    ``saliency_every`` through its ``use_saliency``.

    Attributes:
        method: its name in ``METHODS``.
        options: every option, resolved: the method's options dataclass.
        needs: what it takes besides images and labels, see ``registry``.
    """

    def __init__(self, method: str, **options: Any) -> None:
        self._method, self.options = settle(method, options)
        self.method = self._method.name
        self.needs = self.options.needs
        if self.options.label in MASK_LABELS or self.options.position == "object":
            self.needs |= {"masks"}
        self._how: dict[str, Any] | None = None  # arguments of torch.compile; None: not compiled
        self._mix: Callable[..., dict[str, Any]] = mixed_fields
        self._loss: Callable[[MixedBatch, Tensor, Criterion], Tensor] = MixedBatch.loss

    @property
    def members(self) -> "tuple[Mixer, ...]":
        """The mixers of which one is drawn for each batch: itself, unless it is a ``Switch``."""
        return (self,)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """How likely each of ``members`` is; they sum to 1."""
        return (1.0,)

    @property
    def needs_model(self) -> bool:
        """Whether it looks at the images through a network: pass ``model`` (or ``saliency``)."""
        return not self.needs.isdisjoint(("gradient_saliency", "network"))

    @property
    def needs_saliency(self) -> bool:
        """Whether it takes stored saliency maps: pass ``saliency``."""
        return "stored_saliency" in self.needs

    @property
    def needs_masks(self) -> bool:
        """Whether it takes object masks: pass ``masks``."""
        return "masks" in self.needs

    @property
    def trains_part(self) -> bool:
        """Whether the method trains a module of its own along with the network."""
        return self._method.part is not None

    def attach(self, model: nn.Module, images: Tensor, seed: int = 0) -> None:
        """Give ``model``, which sees ``images`` (B, C, H, W), the module that it is trained with.

        It becomes the network's submodule ``mixing_part``, so that optimizer, moving average and
        checkpoint have it as well: call this first. Its initial weights depend on ``seed`` alone.

        Raises:
            NetworkError: the method does not fit the network.
        """
        model.add_module(PART, new_part(self._method, self.options, model, images, seed))

    def part_loss(
        self, model: nn.Module, network: nn.Module, images: Tensor, labels: Tensor, draw: Draw
    ) -> Tensor:
        """The loss of the part that ``model`` is trained with, a scalar.

        Args:
            network: looks at the images; its weights get no gradient if they ask for none.

        Raises:
            ValueError: ``model`` has no such part.
        """
        part = part_of(model)
        if part is None:
            raise ValueError(
                f"{self.method} trains a module along with the network: call mixer.attach(model, "
                "images) before you make the optimizer"
            )
        assert self._method.part_loss is not None
        batch = Batch(images, labels, network)
        return self._method.part_loss(batch, draw, self.options, part)

    def compiled(self, **how: Any) -> "Mixer":
        """The same mixer, whose arithmetic goes through ``torch.compile(…, **how)``.

        Random numbers, maps and greedy partners stay as they are: a draw with a generator cannot
        be compiled, and a sequential choice of partners takes too long to compile.
        """
        found = copy.copy(self)
        found._compile(how)
        return found

    def _compile(self, how: dict[str, Any]) -> None:
        self._how = how
        self._mix = torch.compile(mixed_fields, **how)
        self._loss = torch.compile(MixedBatch.loss, **how)

    def loss(
        self, mixed: MixedBatch, logits: Tensor, criterion: Criterion = CROSS_ENTROPY
    ) -> Tensor:
        """``mixed.loss(logits, criterion)``, compiled where the mixer is."""
        return self._loss(mixed, logits, criterion)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions cannot be pickled: they are compiled again.
        return {"method": self.method, "options": as_json(self.options), "how": self._how}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["method"], **state["options"])  # type: ignore[misc]
        if state["how"] is not None:
            self._compile(state["how"])

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in vars(self.options).items())
        return f"Mixer({self.method!r}{', ' if chosen else ''}{chosen})"

    def choose(self, generator: torch.Generator | None = None) -> int:
        """Draw which of ``members`` mixes a batch; without a choice nothing is drawn."""
        return 0

    def maps_for(self, member: int, saliency: Tensor | None) -> Tensor | None:
        """The stored maps that a member gets when ``saliency`` is given to all of them."""
        return saliency

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
        return self._drawn(batch_size, height, width, {"generator": generator, "device": where})

    def _drawn(self, batch_size: int, height: int, width: int, source: dict[str, Any]) -> Draw:
        if self._method.apply is None:
            return Draw(torch.arange(batch_size, device=source["device"]))
        options = self.options
        fraction = options.saliency_fraction
        index_b = draws.partners(batch_size, options.pairs, fraction=fraction, **source)
        count = index_b.shape[0] if options.per_sample else 1
        noise = None
        if self._method.noise is not None:
            noise = draws.normal((count, *self._method.noise(options, height, width)), **source)
        return Draw(
            index_b=index_b,
            lam0=draws.beta(options.alpha, count if options.lam0_per_sample else 1, **source),
            centre=draws.centres(count, height, width, **source),
            uniform=draws.uniform((count, 2), **source),
            noise=noise,
            lam1=draws.beta(options.alpha, count, **source) if self._method.second_lam0 else None,
        )

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        model: nn.Module | None = None,
        saliency: Tensor | None = None,
        masks: Tensor | None = None,
        draw: Draw | None = None,
        differentiable: bool = False,
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, C, H, W), any dtype and memory format; never changed.
            labels: (B,) int64 or (B, K) float.
            generator: of the random numbers; on the CPU or on the images' device.
            model: the network, where ``needs_model``.
            saliency: (B, H, W) maps; they replace the method's own. For methods that choose cells
                of a feature map (B, h, w), a value for each cell.
            masks: (B, H, W) object masks, where ``needs_masks``: 0 background, 1 object, 2 unknown.
            draw: the random numbers, instead of drawing them.
            differentiable: let gradients flow from the mixed images to ``images``; by default
                they stop there. Maps and label weights stay constants.

        Raises:
            ValueError: types or shapes that do not fit, or a missing model, map or mask.
        """
        labels = checked_labels(images, labels)
        if draw is None:
            batch_size, _, height, width = images.shape
            draw = self.draw(batch_size, height, width, generator=generator, device=images.device)
        return self._mixed(Batch(images, labels, model, masks), saliency, draw, differentiable)

    def _mixed(
        self, batch: Batch, saliency: Tensor | None, draw: Draw, differentiable: bool
    ) -> MixedBatch:
        self._check(batch, saliency)
        images, labels, model = batch.images, batch.labels, batch.model
        method, options = self._method, self.options
        if method.apply is None:
            return unmixed(images, labels, draw)
        if saliency is None and "gradient_saliency" in self.needs:
            assert model is not None
            saliency, _ = gradient_saliency(model, images, labels, **self.saliency_options())
        # Half precision would lose the boxes' arithmetic and the maps' small values.
        flows = differentiable and torch.is_grad_enabled()
        with torch.autocast(images.device.type, enabled=False), torch.no_grad():
            if saliency is None and method.maps is not None:
                saliency = method.maps(batch, options)
            if saliency is not None:
                saliency = smooth(saliency.detach(), options.smoothing, options.smoothing_taps)
            if method.pair is not None:
                partners = method.pair(batch, saliency, options)
                draw = draw if partners is None else replace(draw, index_b=partners)
            plan = None
            if method.plan is not None:
                part = None
                if method.part is not None:
                    assert model is not None
                    part = part_of(model)
                    if part is None:  # as it is before training
                        part = new_part(method, options, model, images, seed=0)
                plan = method.plan(replace(batch, saliency=saliency), draw, options, part)
            with torch.set_grad_enabled(flows):
                found = self._mix(
                    method, options, images, labels, saliency, batch.masks, draw, plan
                )
        size = tuple(images.shape[2:])
        if saliency is not None and saliency.shape[1:] != size:
            saliency = F.interpolate(saliency[:, None].float(), size)[:, 0]
        return MixedBatch(
            **found,
            saliency=saliency,
            clean_gradient=options.clean_gradient,
        )

    def forward(self, model: nn.Module, mixed: MixedBatch) -> tuple[Any, MixedBatch]:
        """The mixed forward pass: what the network returns, and the batch to take its loss of.

        ``model(mixed.images)`` and ``mixed``, except for methods that mix inside the network or
        take their label from this pass.
        """
        if self._method.forward is None:
            return model(mixed.images), mixed
        return self._method.forward(model, mixed, self.options)

    def saliency_options(self) -> dict[str, Any]:
        """Keyword arguments for ``gradient_saliency``."""
        return {
            "mode": self.options.saliency_mode,
            "batch_norm": self.options.batch_norm,
            "resolution": self.options.saliency_resolution,
            "fraction": self.options.saliency_fraction,
            "aggregate": self._method.aggregate,
            "loss": self.options.saliency_loss,
        }

    def _check(self, batch: Batch, saliency: Tensor | None) -> None:
        images, masks, model = batch.images, batch.masks, batch.model
        check_map("saliency", saliency, images, coarse=self.options.coarse_maps)
        check_map("masks", masks, images)
        if self.needs_masks and masks is None:
            raise ValueError(f"{self.method} takes object masks: pass masks=")
        if self._method.part is not None:
            if model is None:
                raise ValueError(f"{self.method} asks the network where to mix: pass model=")
            if not images.is_floating_point():
                raise ValueError(f"{self.method} asks the network: give floats, not {images.dtype}")
        if saliency is not None:
            return
        if self.needs_model and not images.is_floating_point():
            raise ValueError(
                f"{self.method} takes the gradient of images: give floats, not {images.dtype}, "
                "or saliency="
            )
        if self.needs_model and model is None:
            raise ValueError(
                f"{self.method} takes the network's saliency: pass model= or saliency="
            )
        if self.needs_saliency:
            raise ValueError(f"{self.method} takes stored saliency maps: pass saliency=")
