"""One training step: augment, assemble the batch, mix, forward, backward, optimizer, metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.engine.accumulation import WHOLE, Turn
from saliencymixplus.engine.distributed import share_buffers
from saliencymixplus.engine.ema import EMA
from saliencymixplus.engine.epoch_metrics import EpochMetrics
from saliencymixplus.engine.optimizer import state_tensors
from saliencymixplus.engine.randomness import Streams
from saliencymixplus.loading.augment import Draws
from saliencymixplus.loading.batches import BatchSource, Inputs, LoadedBatch
from saliencymixplus.models.layers import backbone


@dataclass(frozen=True)
class Pieces:
    """The functions that a step calls, plain or compiled.

    Attributes:
        model: the network being trained, possibly ``DistributedDataParallel``.
        saliency_model: the network of the saliency pass; see ``mixing.input_only``.
        assemble: ``BatchSource.assemble``.
        count: ``EpochMetrics.add``.
    """

    model: nn.Module
    saliency_model: nn.Module
    mixer: mixing.Mixer
    assemble: Callable[[Inputs, Draws], LoadedBatch]
    count: Callable[[mixing.Step, Tensor], None]

    def compiled(self, **how: Any) -> "Pieces":
        """All pieces wrapped in ``torch.compile(…, **how)``, which compiles at the first step.

        This includes the small operations around the network: each would otherwise launch a
        kernel, and with mixing there are more of them than the network has layers.
        """
        how = {"dynamic": False, **how}

        def compiled(what: Any) -> Any:
            return torch.compile(what, **how)

        return Pieces(
            model=compiled(self.model),
            saliency_model=compiled(self.saliency_model),
            mixer=self.mixer.compiled(**how),
            assemble=compiled(self.assemble),
            count=compiled(self.count),
        )


@dataclass(frozen=True)
class Kind:
    """How a step treats its batch."""

    mix: bool
    member: int = 0  # index in ``mixer.members`` of the one that mixes it
    use_saliency: bool = True  # False mixes without the saliency pass, for ``saliency_every``


PLAIN = Kind(mix=False)


@dataclass
class TrainStep:
    """A callable training step with everything it reads and changes.

    It never waits for the device, so that a whole step can be captured in a CUDA graph.

    Attributes:
        local: the bare network, neither compiled nor distributed.
        compiled: compiled pieces, or None.
        batch_size: size of this process's part of a full batch. A smaller, last batch uses the
            plain pieces, as recompiling would take longer than the step.
        ema: moving average of the weights, or None.
        clip_grad_norm: largest L2 norm of all gradients together; None: no limit.
        accumulate: batches per optimizer step.
        rank, world: this process's rank and the number of processes, which share every batch.
    """

    local: nn.Module
    plain: Pieces
    optimizer: torch.optim.Optimizer
    source: BatchSource
    streams: Streams
    metrics: EpochMetrics
    autocast: Callable[[], AbstractContextManager[object]]
    batch_size: int
    compiled: Pieces | None = None
    ema: EMA | None = None
    criterion: mixing.Criterion = mixing.Criterion()  # noqa: RUF009
    clip_grad_norm: float | None = None
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    frozen: bool = False  # only the head is trained; see ``freeze``

    def __call__(self, inputs: Inputs, kind: Kind, turn: Turn = WHOLE) -> None:
        """Train on one batch; see ``add_gradients``."""
        self.begin(turn)
        self.add_gradients(inputs, kind, last=turn.last)
        if turn.last:
            self.update(turn)

    def begin(self, turn: Turn) -> None:
        """Clear the gradients of the previous step, or rescale those accumulated so far."""
        if turn.first:
            self.optimizer.zero_grad(set_to_none=True)
        elif turn.rescale != 1.0:
            torch._foreach_mul_(self._gradients(), turn.rescale)

    def add_gradients(self, inputs: Inputs, kind: Kind, *, last: bool = True) -> None:
        """Add the gradients of one batch to ``.grad``, and its loss and errors to the metrics.

        Args:
            inputs: what ``BatchSource.inputs`` yielded for the batch: B row indices or raw images.
            last: whether this is the last batch of its step, after which several processes
                average their gradients.
        """
        pieces = self.compiled if self.compiled and self.compiles(inputs) else self.plain
        count, mixer = len(inputs[0]), pieces.mixer.members[kind.member]

        # Augmentation: drawn for the whole batch, of which each process uses its part, so that an
        # image is cropped the same way with any number of processes.
        draws = self.source.augmentation.draw(
            count * self.world, self.streams.augment, self.source.device
        )
        draws = draws.part(count * self.rank, count * (self.rank + 1))

        # Batch: images cropped, augmented and normalised to (B, 3, H, W), with labels and maps.
        batch = pieces.assemble(inputs, draws)

        # Saliency pass, mixing, forward, loss, backward; leaves gradients in `.grad`.
        with nullcontext() if last else self._no_sync():
            result = mixing.backward(
                pieces.model,
                mixer,
                batch.images,
                batch.labels,
                generator=self.streams.mix,
                saliency=batch.saliency if mixer.needs_saliency else None,
                masks=batch.masks if mixer.needs_masks else None,
                mix=kind.mix,
                use_saliency=kind.use_saliency,
                saliency_model=pieces.saliency_model,
                autocast=self.autocast,
                criterion=self.criterion,
            )
        pieces.count(result, batch.labels)

    def update(self, turn: Turn) -> None:
        """Average the gradients over the images of the step and change the weights."""
        if turn.weight != 1.0:
            torch._foreach_mul_(self._gradients(), turn.weight)
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.local.parameters(), self.clip_grad_norm)
        self.optimizer.step()
        if isinstance(self.plain.model, nn.parallel.DistributedDataParallel):
            share_buffers(self.local)
        if self.ema:
            self.ema.update()

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.local.parameters() if p.grad is not None]

    def _no_sync(self) -> AbstractContextManager[None]:
        """Keep the gradients of the backward pass to this process."""
        model = self.plain.model
        if isinstance(model, nn.parallel.DistributedDataParallel):
            return model.no_sync()
        return nullcontext()

    def freeze(self, frozen: bool) -> None:
        """Freeze all layers but the head, including batch-norm statistics, or unfreeze them.

        The optimizer skips parameters without a gradient: neither momentum nor weight decay changes
        them.
        """
        if frozen or self.frozen:
            for module in backbone(self.local):
                module.training = not frozen
                for parameter in module.parameters(False):
                    parameter.requires_grad_(not frozen)
            for module in backbone(self.saliency_model):
                module.training = not frozen
        self.frozen = frozen

    @property
    def mixer(self) -> mixing.Mixer:
        """The uncompiled mixer."""
        return self.plain.mixer

    @property
    def saliency_model(self) -> nn.Module:
        """The uncompiled network of the saliency pass."""
        return self.plain.saliency_model

    def compiles(self, inputs: Inputs) -> bool:
        """Whether the step for this batch uses the compiled pieces."""
        return self.compiled is not None and len(inputs[0]) == self.batch_size

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes, so that a rehearsal can restore it."""
        averaged = [*self.ema.model.state_dict().values()] if self.ema else []
        return [
            *self.local.state_dict().values(),
            *state_tensors(self.optimizer),
            *averaged,
            self.metrics.sums,
            self.metrics.bad_batch,
        ]
