"""The random numbers of mixing, drawn separately from their use so that callers can supply them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """All random numbers for mixing a batch of B images into M.

    The first source of mixed image i is always image i; ``index_b[i]`` is the second. N is M, or 1
    if one draw is used for the whole batch.
    """

    index_b: Tensor  # (M,) int64
    # (N,) float64 (float32 on MPS), in [0, 1]: weight of the first source
    lam0: Tensor | None = None
    lam1: Tensor | None = None  # a second λ₀, for methods that need two
    centre: Tensor | None = None  # (N, 2) int64: row and column of a pixel
    uniform: Tensor | None = None  # (N, 2) float32 in [0, 1): further choices of the method
    noise: Tensor | None = None  # (N, …) float32: see ``Method.noise``
    member: int = 0  # index of the member of a ``Switch`` that they are for

    @property
    def size(self) -> int:
        """Number M of mixed images."""
        return self.index_b.shape[0]

    def take(self, *names: str) -> tuple[Tensor, ...]:
        """The numbers with these names.

        Raises:
            ValueError: the draw lacks one.
        """
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the draw lacks {', '.join(missing)}, which this method uses")
        return tuple(getattr(self, name) for name in names)

    def to(self, device: torch.device | str) -> "Draw":
        """The same numbers on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class RandomNumbers:
    """Random numbers for ``device``, drawn on the generator's device."""

    generator: torch.Generator | None
    device: torch.device

    @property
    def drawn_on(self) -> torch.device:
        """The device to draw on: the generator's if its type differs, else ``device``."""
        if self.generator is None or self.generator.device.type == self.device.type:
            return self.device
        return self.generator.device

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1)."""
        found = torch.rand(shape, generator=self.generator, device=self.drawn_on, dtype=dtype)
        return found.to(self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 numbers."""
        how: dict[str, Any] = {"device": self.drawn_on, "dtype": torch.float32}
        return torch.randn(shape, generator=self.generator, **how).to(self.device)

    def beta(self, alpha: float, count: int) -> Tensor:
        """Beta(alpha, alpha), (count,) float64 as in the published code; float32 on MPS."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        if alpha == 1.0:
            return self.uniform(count, dtype=dtype)
        # torch.distributions.Beta takes no generator; this is what it calls, except on MPS, which
        # has no such sampler.
        where = self.generator.device if self.generator is not None else self.device
        where = torch.device("cpu") if where.type == "mps" else where
        concentration = torch.full((count, 2), alpha, dtype=dtype, device=where)
        generator = self.generator
        if generator is not None and generator.device.type != where.type:
            generator = None
        return torch._sample_dirichlet(concentration, generator=generator)[:, 0].to(self.device)


def mixed_size(batch_size: int, pairs: str) -> int:
    """Number of mixed images made from a batch; a single image is its own partner."""
    return max(batch_size // 2, 1) if pairs == "half" else batch_size


def mapped_size(batch_size: int, fraction: float) -> int:
    """How many images at the start of a batch get a saliency map.

    Never all but one, which would have no partner.
    """
    count = min(batch_size, max(2, round(fraction * batch_size)))
    return batch_size if count >= batch_size - 1 else count


def partners(
    batch_size: int, pairs: str, numbers: RandomNumbers, *, fraction: float = 1.0
) -> Tensor:
    """Index (M,) of each image's partner.

    ``full`` draws a uniformly random cycle through the batch (Sattolo 1986): all other images are
    equally likely, and an image is its own partner only if alone. ``redrawn`` takes the first of
    ten permutations without a fixed point, or the first of all if each has one. Permutations come
    from sorting random keys, which a CUDA graph can capture, unlike ``torch.randperm``. If only a
    ``fraction`` of the images has saliency maps (``mapped_size``), these form a separate cycle.
    """
    size = mixed_size(batch_size, pairs)
    keys = numbers.uniform(size)
    if pairs == "redrawn":
        orders = numbers.uniform(10, size).argsort(dim=1)
        fixed = (orders == torch.arange(size, device=orders.device)).any(1)
        return orders.index_select(0, fixed.int().argmin(0, keepdim=True))[0]
    if pairs == "permutation":
        return keys.argsort()
    if pairs == "half":
        return keys.argsort() + (batch_size // 2)
    first = mapped_size(size, fraction)
    order = keys[:first].argsort()
    before = order.roll(1)
    if first < size:
        rest = keys[first:].argsort() + first
        order, before = torch.cat((order, rest)), torch.cat((before, rest.roll(1)))
    return torch.empty_like(order).scatter_(0, order, before)


def members(
    count: int, probabilities: Sequence[float], *, generator: torch.Generator | None
) -> list[int]:
    """``count`` draws of an index into ``probabilities``, on the host."""
    where = generator.device if generator is not None else torch.device("cpu")
    dtype = torch.float32 if where.type == "mps" else torch.float64
    drawn = torch.rand(count, generator=generator, device=where, dtype=dtype)
    bounds = torch.tensor([*accumulate(probabilities)][:-1], dtype=dtype, device=where)
    return torch.bucketize(drawn, bounds, right=True).tolist()


def scale(places: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Scale places (N, 2) in [0, 1)² to int64 rows below ``height`` and columns below ``width``."""
    if isinstance(height, int) and height == width:
        return (places * height).long()
    return torch.stack((places[:, 0] * height, places[:, 1] * width), dim=1).long()
