"""One optimisation step: batch, augmentation, mixing, forward, backward, optimiser, metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.engine.epoch_metrics import Totals
from saliencymixplus.engine.optimizer import WeightAverage, momentum_of
from saliencymixplus.engine.randomness import Streams
from saliencymixplus.loading.augment import Boxes
from saliencymixplus.loading.batches import Batch, Inputs, Source


@dataclass(frozen=True)
class Pieces:
    """What a step is put together from: as it is written, or compiled.

    Attributes:
        model: the network in training, possibly distributed.
        saliency_model: what the saliency pass goes through, see ``mixing.input_only``.
        assemble: ``Source.assemble``.
        count: ``Totals.add``.
    """

    model: nn.Module
    saliency_model: nn.Module
    mixer: mixing.Mixer
    assemble: Callable[[Inputs, Boxes], Batch]
    count: Callable[[mixing.Step, Tensor], None]

    def compiled(self, **how: Any) -> "Pieces":
        """Everything that ``torch.compile(…, **how)`` can take; the first step compiles it.

        The small operations around the network too: one after the other, each takes a kernel and
        its launch, and with mixing there are more of them than the network has layers.
        """
        how = {"dynamic": False, **how}

        def fast(what: Any) -> Any:
            return torch.compile(what, **how)

        return Pieces(
            model=fast(self.model),
            saliency_model=fast(self.saliency_model),
            mixer=self.mixer.compiled(**how),
            assemble=fast(self.assemble),
            count=fast(self.count),
        )


@dataclass
class TrainStep:
    """All that a step reads and changes. Calling it waits for nothing, so it can be captured.

    Attributes:
        local: the bare network.
        plain: what a step is put together from, uncompiled.
        compiled: the same, compiled; None: nothing is.
        batch_size: of this process's part of a full batch. A last, smaller one would be compiled
            anew: it takes the plain pieces.
        rank, world: this process among all; each takes its part of the batch.
    """

    local: nn.Module
    plain: Pieces
    optimiser: torch.optim.Optimizer
    source: Source
    streams: Streams
    totals: Totals
    autocast: Callable[[], AbstractContextManager[object]]
    batch_size: int
    compiled: Pieces | None = None
    average: WeightAverage | None = None
    rank: int = 0
    world: int = 1

    def __call__(self, inputs: Inputs, mix: bool, *, use_saliency: bool = True) -> None:
        """Train on one batch; ``use_saliency``: with the method's saliency pass, if it has one."""
        count = len(inputs[0])
        use = self.compiled if self.compiled and self.compiles(inputs) else self.plain
        # Drawn for the whole batch, so that each image gets the same crop on any number of
        # processes; a process uses its own part.
        boxes = self.source.augmentation.draw(
            count * self.world, self.streams.augment, self.source.device
        )
        boxes = boxes.part(count * self.rank, count * (self.rank + 1))
        batch = use.assemble(inputs, boxes)
        self.optimiser.zero_grad(set_to_none=True)
        result = mixing.backward(
            use.model,
            use.mixer,
            batch.images,
            batch.labels,
            generator=self.streams.mix,
            saliency=batch.saliency if self.mixer.needs_saliency else None,
            mix=mix,
            use_saliency=use_saliency,
            saliency_model=use.saliency_model,
            autocast=self.autocast,
        )
        self.optimiser.step()
        if self.average:
            self.average.update()
        use.count(result, batch.labels)

    @property
    def mixer(self) -> mixing.Mixer:
        return self.plain.mixer

    @property
    def twin(self) -> nn.Module:
        """The uncompiled network of the saliency pass."""
        return self.plain.saliency_model

    def compiles(self, inputs: Inputs) -> bool:
        """Whether the step of this batch takes the compiled pieces."""
        return self.compiled is not None and len(inputs[0]) == self.batch_size

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes, for a rehearsal that must leave no trace."""
        averaged = [*self.average.model.state_dict().values()] if self.average else []
        return [
            *self.local.state_dict().values(),
            *momentum_of(self.local, self.optimiser).values(),
            *averaged,
            self.totals.values,
            self.totals.bad_step,
        ]
