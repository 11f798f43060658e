"""One optimisation step: batch, augmentation, mixing, forward, backward, optimiser, metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.data.batches import Inputs, Source
from saliencymixplus.training.optimiser import WeightAverage, momentum_of
from saliencymixplus.training.randomness import Streams
from saliencymixplus.training.totals import Totals


@dataclass
class TrainStep:
    """All that a step reads and changes. Calling it waits for nothing, so it can be captured.

    Attributes:
        local: the bare network; ``model`` is what is trained, possibly compiled or distributed.
        twin: what the saliency pass goes through, see ``mixing.input_only``; ``saliency_model`` is
            the same, possibly compiled.
        shard: first and last (exclusive) image of this process's part, as shares of the batch.
    """

    local: nn.Module
    model: nn.Module
    twin: nn.Module
    saliency_model: nn.Module
    optimiser: torch.optim.Optimizer
    mixer: mixing.Mixer
    source: Source
    streams: Streams
    totals: Totals
    autocast: Callable[[], AbstractContextManager[object]]
    average: WeightAverage | None = None
    rank: int = 0
    world: int = 1

    def __call__(
        self, inputs: Inputs, mix: bool, *, guided: bool = True, plain_model: bool = False
    ) -> None:
        """Train on one batch.

        Args:
            guided: a mixed step takes its saliency pass, if the method has one.
            plain_model: pass by the compiled network.
        """
        count = len(inputs[0])
        # Drawn for the whole batch, so that each image gets the same crop on any number of
        # processes; a process uses its own part.
        boxes = self.source.augmentation.draw(
            count * self.world, self.streams.augment, self.source.device
        )
        boxes = boxes.part(count * self.rank, count * (self.rank + 1))
        batch = self.source.assemble(inputs, boxes)
        self.optimiser.zero_grad(set_to_none=True)
        result = mixing.backward(
            self.local if plain_model else self.model,
            self.mixer,
            batch.images,
            batch.labels,
            generator=self.streams.mix,
            saliency=batch.saliency if self.mixer.needs_saliency else None,
            mix=mix,
            guided=guided,
            saliency_model=self.twin if plain_model else self.saliency_model,
            autocast=self.autocast,
        )
        self.optimiser.step()
        if self.average:
            self.average.update()
        self.totals.add(result, batch.labels)

    @property
    def compiled(self) -> bool:
        """The network, and the one of the saliency pass, are compiled."""
        return self.saliency_model is not self.twin

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
