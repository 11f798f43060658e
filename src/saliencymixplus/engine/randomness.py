"""Random numbers without hidden state: every stream is reseeded at every step.

A resumed run therefore needs no generator state, and the draws of one part never shift those of
another.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from saliencymixplus.mixing import draws


def seed_of(seed: int, stream: str, *place: int) -> int:
    """A 63-bit seed from the run's seed, a stream's name and a position (epoch, step, rank)."""
    text = f"{seed}/{stream}/" + "/".join(map(str, place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(
    seed: int, stream: str, *place: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator at the position ``place`` of a stream."""
    return torch.Generator(device).manual_seed(seed_of(seed, stream, *place))


def batches_of_epoch(
    count: int, batch_size: int, seed: int, epoch: int, repeats: int = 1, processes: int = 1
) -> list[Tensor]:
    """Row indices of each batch of ``epoch``, (B,) int64; the order depends on (seed, epoch).

    With ``repeats``, each image is repeated that many times in a row, up to ``count`` in total.
    The last batch has the remainder, which is dropped if it is fewer than two images for each
    process, as batch normalisation and mixing need two.
    """
    order = torch.randperm(count, generator=generator_for(seed, "order", epoch))
    if repeats > 1:
        order = order[: -(-count // repeats)].repeat_interleave(repeats)[:count]
    batches = list(order.split(batch_size))
    too_few = len(batches[-1]) < 2 * processes
    return batches[:-1] if len(batches) > 1 and too_few else batches


def mix_flags_of_epoch(steps: int, probability: float, seed: int, epoch: int) -> list[bool]:
    """Whether each step of ``epoch`` mixes its batch."""
    draws = torch.rand(steps, generator=generator_for(seed, "coin", epoch), dtype=torch.float64)
    return (draws < probability).tolist()


def members_of_epoch(
    steps: int, probabilities: Sequence[float], seed: int, epoch: int
) -> list[int]:
    """The member of a switch for each step of ``epoch``, if it mixes; 0 without a switch."""
    if len(probabilities) == 1:
        return [0] * steps
    generator = generator_for(seed, "switch", epoch)
    return draws.members(steps, probabilities, generator=generator)


def saliency_flags_of_epoch(
    mix_flags: Sequence[bool], members: Sequence[int], every: Sequence[int]
) -> list[bool]:
    """Whether each step of an epoch has a saliency pass, if it mixes.

    It is every ``every[member]``-th of the steps that a member mixes, starting with the first.
    """
    mixed_before = [0] * len(every)
    flags = []
    for mix, member in zip(mix_flags, members, strict=True):
        flags.append(mixed_before[member] % every[member] == 0)
        mixed_before[member] += mix
    return flags


class Streams:
    """The generators of a training step: augmentation, mixing, and torch's default (dropout).

    Every process draws the augmentation of the whole batch; mixing and dropout differ by rank.
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
        """Seed every generator for this step."""
        self.augment.manual_seed(seed_of(self.seed, "augment", epoch, step))
        self.mix.manual_seed(seed_of(self.seed, "mix", epoch, step, self.rank))
        value = seed_of(self.seed, "model", epoch, step, self.rank)
        for generator in self._global:
            generator.manual_seed(value)
        if self.device.type == "mps":
            torch.mps.manual_seed(value)
