"""No step waits for the device."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from saliencymixplus import mixing
from saliencymixplus.engine.cuda_graph import capturable
from saliencymixplus.engine.step import PLAIN, Kind
from saliencymixplus.mixing import combine
from tests.engine.captured import parts_for, with_its_network

METHODS = [m for m in mixing.METHODS if m != "none"]


class NothingWaits(TorchDispatchMode):
    """Fails on operations that make the host wait, or that copy host memory in a capture."""

    WAITS = frozenset(
        {
            "_local_scalar_dense",
            "nonzero",
            "masked_select",
            "unique2",
            "_unique2",
            "lift_fresh",
            "equal",
            "is_nonzero",
            "unique_consecutive",
            "multinomial",
        }
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        assert name not in self.WAITS, f"{name} would wait for the device"
        if name in ("index", "index_put_"):
            masks = [t for t in args[1] if t is not None and t.dtype in (torch.bool, torch.uint8)]
            assert not masks, "a mask as index would wait for the device"
        return func(*args, **(kwargs or {}))


def test_waiting_is_noticed() -> None:
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NothingWaits():
        torch.ones(1).item()
    with pytest.raises(AssertionError, match="mask as index"), NothingWaits():
        torch.arange(3)[torch.arange(3) > 1]


@pytest.mark.parametrize("augment", ["none", "flip", "crop-flip", "resized-crop-flip"])
def test_augmenting_waits_for_nothing(tiny: Path, augment: str) -> None:
    parts = parts_for(tiny, "none", augment=augment)
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    with NothingWaits():
        parts.step(inputs, PLAIN)


@pytest.mark.parametrize("policy", [None, "randaugment", "trivialaugment", "autoaugment-svhn"])
def test_policies_and_erasing_wait_for_nothing(tiny_with_masks: Path, policy: str | None) -> None:
    parts = parts_for(
        tiny_with_masks, "none", crop_mode="reflect", auto_augment=policy, random_erasing=0.5
    )
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    parts.step(inputs, PLAIN)  # as a rehearsal does: the policy's tables are sent to the device
    with NothingWaits():
        parts.step(inputs, PLAIN)


@pytest.mark.parametrize("method", METHODS)
def test_every_methods_step_waits_for_nothing(
    tiny_with_masks: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(combine, "IN_PARTS", "none")  # as on a GPU
    with_its_network(method, monkeypatch)
    parts = parts_for(tiny_with_masks, method, weight_average=0.9)
    if not capturable(parts.step.mixer):
        pytest.skip("this variant is run eagerly")
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    with NothingWaits():
        parts.step(inputs, Kind(mix=True))
