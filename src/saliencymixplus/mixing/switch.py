"""Switch between methods: each batch is mixed by one of several mixers, drawn at random.

Alternating CutMix and mixup, as timm's and torchvision's training recipes do, is
``create("switch", members={"cutmix": 0.5, "mixup": 0.5})``.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saliencymixplus.mixing.batch import Batch, MixedBatch
from saliencymixplus.mixing.criterion import CROSS_ENTROPY, Criterion
from saliencymixplus.mixing.draws import Draw, RandomNumbers, members
from saliencymixplus.mixing.mixer import Mixer
from saliencymixplus.mixing.options import Options

SWITCH = "switch"  # its name in place of a method's


@dataclass(frozen=True, kw_only=True)
class SwitchOptions(Options):
    """The members by name, each with its ``probability``, ``method`` and all options."""

    members: Mapping[str, Mapping[str, Any]]


class Switch(Mixer):
    """Several mixers, one of which is drawn for each batch. Used like any ``Mixer``.

    The choice takes one random number from ``generator`` before the member's own; with a generator
    on a GPU, reading it waits for the device. Stored ``saliency`` maps go to the members that need
    them or, if none does, to every member.

    Args:
        members: probability by the name of a method or preset; or, to set options, by any name a
            mapping ``{"probability": 0.5, "method": "cutmix", "alpha": 0.2}``, where ``method``
            defaults to that name. The probabilities sum to 1; the order does not matter.

    Raises:
        ValueError: fewer than two members, an unknown method or option, or probabilities that are
            not positive or do not sum to 1.

    Examples:
        >>> switch = Switch({"cutmix": 0.7, "mixup": {"probability": 0.3, "alpha": 0.2}})
        >>> mixed = switch(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> switch.members[mixed.member].method in ("cutmix", "mixup")
        True
    """

    def __init__(self, members: Mapping[str, float | Mapping[str, Any]]) -> None:
        if not isinstance(members, Mapping) or len(members) < 2:
            raise ValueError(
                "a switch needs two or more members, such as {'cutmix': 0.5, 'mixup': 0.5}"
            )
        self.method = SWITCH
        found: dict[str, tuple[float, Mixer]] = {}
        for name in sorted(members):
            given = members[name]
            options = dict(given) if isinstance(given, Mapping) else {"probability": given}
            probability = _probability(name, options.pop("probability", None))
            found[name] = probability, _member(name, options)
        total = math.fsum(probability for probability, _ in found.values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the probabilities of a switch sum to {total:g}, not to 1")
        self._probabilities = tuple(probability for probability, _ in found.values())
        self._members = tuple(mixer for _, mixer in found.values())
        self.needs = frozenset[Any]().union(*(mixer.needs for mixer in self._members))
        self.options = SwitchOptions(
            members={
                name: {
                    "probability": probability,
                    "method": mixer.method,
                    **asdict(mixer.options),
                }
                for name, (probability, mixer) in found.items()
            }
        )

    @property
    def members(self) -> tuple[Mixer, ...]:
        return self._members

    @property
    def probabilities(self) -> tuple[float, ...]:
        return self._probabilities

    @property
    def trains_part(self) -> bool:
        return False  # such a method cannot be a member

    def _compile(self, how: dict[str, Any]) -> None:
        self._members = tuple(mixer.compiled(**how) for mixer in self._members)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        members = zip(self.probabilities, self.members, strict=True)
        return f"Switch({', '.join(f'{p:g} {mixer!r}' for p, mixer in members)})"

    def choose(self, generator: torch.Generator | None = None) -> int:
        return members(1, self.probabilities, generator=generator)[0]

    def _drawn(self, batch_size: int, height: int, width: int, numbers: RandomNumbers) -> Draw:
        chosen = self.choose(numbers.generator)
        drawn = self.members[chosen]._drawn(batch_size, height, width, numbers)
        return replace(drawn, member=chosen)

    def _mixed(
        self, batch: Batch, saliency: Tensor | None, draw: Draw, differentiable: bool
    ) -> MixedBatch:
        mixer, saliency = self.members[draw.member], self.maps_for(draw.member, saliency)
        mixed = mixer._mixed(batch, saliency, draw, differentiable)
        return replace(mixed, member=draw.member)

    def maps_for(self, member: int, saliency: Tensor | None) -> Tensor | None:
        return saliency if self.members[member].needs_saliency == self.needs_saliency else None

    def forward(self, model: nn.Module, mixed: MixedBatch) -> tuple[Any, MixedBatch]:
        return self.members[mixed.member].forward(model, mixed)

    def loss(
        self, mixed: MixedBatch, logits: Tensor, criterion: Criterion = CROSS_ENTROPY
    ) -> Tensor:
        return self.members[mixed.member].loss(mixed, logits, criterion)


def _probability(name: str, value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:  # type: ignore[operator]
        raise ValueError(f"{name}: a probability is above 0 and at most 1, not {value!r}")
    return float(value)  # type: ignore[arg-type]


def _member(name: str, options: dict[str, Any]) -> Mixer:
    method = options.pop("method", name)
    if str(method).lower() == SWITCH:
        raise ValueError(f"{name}: a switch cannot be a member of a switch: name its members")
    try:
        mixer = Mixer(method, **options)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if mixer.trains_part:
        raise ValueError(f"{name} trains a module of its own: it cannot be a member of a switch")
    return mixer
