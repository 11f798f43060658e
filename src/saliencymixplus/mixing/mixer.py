"""The mixer: draws the random numbers of a method and applies it to a batch."""

import copy
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.apply import draw_for, mixed_batch, mixed_fields, unmixed
from saliencymixplus.mixing.batch import Batch, MixedBatch
from saliencymixplus.mixing.checks import check_map, checked_labels
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, Criterion
from saliencymixplus.mixing.draws import Draw, RandomNumbers
from saliencymixplus.mixing.options import MASK_LABELS
from saliencymixplus.mixing.registry import settle
from saliencymixplus.mixing.saliency import gradient_saliency
from saliencymixplus.mixing.trained_part import PART, new_part, part_of


class Mixer:
    """A mixing method with all its options fixed. Has no state.

    ``clean_gradient`` and ``saliency_weights`` take effect in ``mixing.backward`` only, and
    ``saliency_every`` through its argument ``use_saliency``.

    Attributes:
        method: the method's name in ``METHODS``.
        options: all options, as an instance of the method's dataclass.
        needs: what it needs besides images and labels, see ``Options.needs``.
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
        """The mixers of which one is drawn for each batch: only itself, except for a ``Switch``."""
        return (self,)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probability of each of ``members``; they sum to 1."""
        return (1.0,)

    @property
    def needs_model(self) -> bool:
        """Whether it passes the images through a network: give ``model`` (or ``saliency``)."""
        return not self.needs.isdisjoint(("gradient_saliency", "network"))

    @property
    def needs_saliency(self) -> bool:
        """Whether it takes stored saliency maps: give ``saliency``."""
        return "stored_saliency" in self.needs

    @property
    def needs_masks(self) -> bool:
        """Whether it takes object masks: give ``masks``."""
        return "masks" in self.needs

    @property
    def trains_part(self) -> bool:
        """Whether the method trains a module of its own along with the network."""
        return self._method.part is not None

    def attach(self, model: nn.Module, images: Tensor, seed: int = 0) -> None:
        """Add the module that the method trains to ``model``, as its submodule ``mixing_part``.

        Call this before creating the optimizer or moving average, so that they include it.
        ``images`` (B, C, H, W) are an example of the network's input; ``seed`` determines the
        module's initial weights.

        Raises:
            NetworkError: the method does not support the network.
        """
        model.add_module(PART, new_part(self._method, self.options, model, images, seed))

    def part_loss(
        self, model: nn.Module, network: nn.Module, images: Tensor, labels: Tensor, draw: Draw
    ) -> Tensor:
        """The loss, a scalar, of the module that the method trains with ``model``.

        Images go through ``network``, which may be the moving average of ``model``.

        Raises:
            ValueError: ``model`` has no such module.
        """
        if (part := part_of(model)) is None:
            raise ValueError(
                f"{self.method} trains a module along with the network: call mixer.attach(model, "
                "images) before you make the optimizer"
            )
        assert self._method.part_loss is not None
        return self._method.part_loss(Batch(images, labels, network), draw, self.options, part)

    def compiled(self, **how: Any) -> "Mixer":
        """The same mixer with its arithmetic compiled by ``torch.compile(…, **how)``.

        Random numbers, maps and greedy pairing are not compiled: a draw with a generator cannot be,
        and a sequential choice of partners would take too long.
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
        """``mixed.loss(logits, criterion)``, compiled if the mixer is."""
        return self._loss(mixed, logits, criterion)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions cannot be pickled: they are compiled again.
        return {"method": self.method, "options": asdict(self.options), "how": self._how}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["method"], **state["options"])  # type: ignore[misc]
        if state["how"] is not None:
            self._compile(state["how"])

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={value!r}" for name, value in vars(self.options).items())
        return f"Mixer({self.method!r}{', ' if chosen else ''}{chosen})"

    def choose(self, generator: torch.Generator | None = None) -> int:
        """Draw the index of the member that mixes a batch; of a single one, nothing is drawn."""
        return 0

    def maps_for(self, member: int, saliency: Tensor | None) -> Tensor | None:
        """The part of the caller's ``saliency`` that goes to a member: all or None."""
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
        """Draw all random numbers for mixing ``batch_size`` images, on ``device``."""
        where = torch.device(device if device is not None else "cpu")
        return self._drawn(batch_size, height, width, RandomNumbers(generator, where))

    def _drawn(self, batch_size: int, height: int, width: int, numbers: RandomNumbers) -> Draw:
        return draw_for(self._method, self.options, batch_size, height, width, numbers)

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
        part: nn.Module | None = None,
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, C, H, W), any dtype and memory format; never changed.
            labels: (B,) int64 or (B, K) float.
            generator: source of the random numbers, on the CPU or on the images' device.
            model: the network, if ``needs_model``.
            saliency: (B, H, W) maps that replace the method's own; for methods that choose cells of
                a feature map, (B, h, w) with a value for each cell.
            masks: (B, H, W) object masks, if ``needs_masks``: 0 background, 1 object, 2 unknown.
            draw: random numbers to use instead of drawing them.
            differentiable: let gradients flow from the mixed images back to ``images``. Maps and
                label weights are constants in any case.
            part: the module that the method trains (see ``attach``), if ``model`` is not the
                network that has it but its moving average.

        Raises:
            ValueError: types or shapes that do not fit, or a missing model, map or mask.
        """
        labels = checked_labels(images, labels)
        if draw is None:
            batch_size, _, height, width = images.shape
            draw = self.draw(batch_size, height, width, generator=generator, device=images.device)
        batch = Batch(images, labels, model, masks, part=part)
        return self._mixed(batch, saliency, draw, differentiable)

    def _mixed(self, batch: Batch, saliency: Tensor | None, draw: Draw, flows: bool) -> MixedBatch:
        self._check(batch, saliency)
        if self._method.apply is None:
            return unmixed(batch.images, batch.labels, draw)
        if saliency is None and "gradient_saliency" in self.needs:
            assert batch.model is not None
            how = self.saliency_options()
            saliency, _ = gradient_saliency(batch.model, batch.images, batch.labels, **how)
        return mixed_batch(
            self._method, self.options, self._mix, replace(batch, saliency=saliency), draw, flows
        )

    def forward(self, model: nn.Module, mixed: MixedBatch) -> tuple[Any, MixedBatch]:
        """The mixed forward pass: the network's output, and the batch to compute its loss with.

        These are ``model(mixed.images)`` and ``mixed``, except for methods that mix inside the
        network or take their label from this pass.
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
            "trust": self.options.saliency_trust,
            "aggregate": self._method.aggregate,
            "loss": self.options.saliency_loss,
        }

    def _check(self, batch: Batch, saliency: Tensor | None) -> None:
        check_map("saliency", saliency, batch.images, coarse=self.options.coarse_maps)
        check_map("masks", batch.masks, batch.images)
        if self.needs_masks and batch.masks is None:
            raise ValueError(f"{self.method} takes object masks: pass masks=")
        if saliency is not None and not self.trains_part:
            return
        if self.needs_saliency:
            raise ValueError(f"{self.method} takes stored saliency maps: pass saliency=")
        if self.needs_model:
            runs = f"{self.method} runs the network on the images"
            instead = "" if self.trains_part else ", or pass saliency="
            if batch.model is None:
                raise ValueError(f"{runs}: pass model={instead}")
            if not batch.images.is_floating_point():
                raise ValueError(f"{runs}: give floats, not {batch.images.dtype}{instead}")
