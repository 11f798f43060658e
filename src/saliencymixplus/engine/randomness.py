"""Random numbers without a hidden state: every stream is seeded anew for every step.

So a resumed run needs no generator's state, and what one part draws never shifts another's.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def seed_of(seed: int, stream: str, *place: int) -> int:
    """63 bits from the run's seed, the name of a stream and a place in it (epoch, step, rank)."""
    text = f"{seed}/{stream}/" + "/".join(map(str, place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(
    seed: int, stream: str, *place: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator at the start of a stream."""
    return torch.Generator(device).manual_seed(seed_of(seed, stream, *place))


def batches_of_epoch(count: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """The row numbers of each batch of ``epoch``, (B,) int64, in an order of (seed, epoch) only.

    The last batch holds what is left; a single image is left out, for batch normalisation and
    mixing need two.
    """
    order = torch.randperm(count, generator=generator_for(seed, "order", epoch))
    batches = list(order.split(batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def mix_flags_of_epoch(steps: int, probability: float, seed: int, epoch: int) -> list[bool]:
    """For each step of ``epoch``: is its batch mixed?"""
    chance = torch.rand(steps, generator=generator_for(seed, "coin", epoch), dtype=torch.float64)
    return (chance < probability).tolist()


def saliency_flags_of_epoch(mix_flags: Sequence[bool], every: int) -> list[bool]:
    """For each step of an epoch: if it is mixed, does it take its saliency pass?

    Every ``every``-th of its mixed steps does, the first one to begin with.
    """
    before = [0, *accumulate(mix_flags)][:-1]
    return [count % every == 0 for count in before]


class Streams:
    """The generators of a training step: augmentation, mixing, and torch's own (dropout).

    The augmentation is drawn for the whole batch by every process; mixing and dropout differ.
    """

    def __init__(self, seed: int, device: torch.device, rank: int = 0) -> None:
        self.seed, self.rank, self.device = seed, rank, device
        self.augment = torch.Generator(device)
        self.mix = torch.Generator(device)
        self._global = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()
            self._global.append(torch.cuda.default_generators[device.index or 0])

    def start(self, epoch: int, step: int) -> None:
        """Put every stream at its place for this step."""
        self.augment.manual_seed(seed_of(self.seed, "augment", epoch, step))
        self.mix.manual_seed(seed_of(self.seed, "mix", epoch, step, self.rank))
        value = seed_of(self.seed, "model", epoch, step, self.rank)
        for generator in self._global:
            generator.manual_seed(value)
        if self.device.type == "mps":
            torch.mps.manual_seed(value)
