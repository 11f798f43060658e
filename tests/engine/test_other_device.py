"""The whole step on a device other than the host's, simulated on the host.

Fake tensors, without numbers, claim to be on CUDA: combining them with tensors on the host, or
reading a number, fails. Autograd does not work with them, so gradients are filled in.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from saliencymixplus import mixing
from saliencymixplus.datasets.prepared import Split
from saliencymixplus.engine.ema import EMA
from saliencymixplus.engine.epoch_metrics import EpochMetrics
from saliencymixplus.engine.step import PLAIN, Kind, Pieces, TrainStep
from saliencymixplus.loading import policy
from saliencymixplus.loading.augment import Augmentation
from saliencymixplus.loading.batches import DeviceData
from saliencymixplus.loading.erasing import Erasing
from saliencymixplus.loading.policy import Policy
from tests.mixing.networks import network_for

CUDA = torch.device("cuda", 0)
RECIPES: list[tuple[str, dict[str, Any]]] = [
    # Beta draws other than the uniform one have no version without numbers.
    *[
        (name, {"alpha": 1.0} if method.options().alpha != 1.0 else {})
        for name, method in mixing.METHODS.items()
    ],
    ("cutmix", {"box": "sample", "box_size": "exact"}),
    ("saliencymixplus", {"variant": "published"}),
    ("saliencymixplus", {"position": "mass", "smoothing": 1.0}),
    ("saliencymixplus", {"position": "sampled", "saliency_resolution": 0.5}),
    ("saliencymixplus", {"saliency_fraction": 0.5, "saliency_mode": "train"}),
    ("mixup", {"lam0": "sample"}),
]
pytestmark = pytest.mark.skipif(
    torch.__version__ < "2.10", reason="torch before 2.10 asks the driver, numbers or not"
)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """A mode in which every new tensor has a shape and a device, but no numbers."""
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False)
    monkeypatch.setattr(
        torch.autograd, "grad", lambda loss, inputs, **kw: [torch.zeros_like(i) for i in inputs]
    )
    monkeypatch.setattr(Tensor, "backward", lambda self: None)
    monkeypatch.setattr(nn.Module, "to", lambda self, device: self)  # made there already
    # It reads the numbers that it drew.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda weight, **how: weight)
    with FakeTensorMode() as mode:
        yield mode


def source_for(mixer: mixing.Mixer, augment: str, **more: Any) -> DeviceData:
    rng = np.random.default_rng(0)
    split = Split(
        "train",
        rng.integers(0, 256, (16, 12, 12, 3), dtype=np.uint8),
        rng.integers(0, 10, 16),
        rng.integers(0, 256, (16, 12, 12), dtype=np.uint8),
        rng.integers(0, 2, (16, 12, 12), dtype=np.uint8),
        [],
    )
    how = Augmentation(augment, (12, 12), (12, 12), 2, **more)
    mean, std = (0.5,) * 3, (0.25,) * 3
    maps = {"saliency": mixer.needs_saliency, "masks": mixer.needs_masks}
    return DeviceData(split, how, mean, std, CUDA, **maps)


class NoStreams:
    """A generator of CUDA cannot be made: the numbers come from torch's own."""

    augment = mix = None


class NoOptimizer:
    """A fused step has no version without numbers."""

    def zero_grad(self, set_to_none: bool) -> None:
        assert set_to_none

    def step(self) -> None:
        pass


def step_for(method: str, options: dict[str, Any], augment: str, **more: Any) -> TrainStep:
    mixer, metrics = mixing.create(method, **options), EpochMetrics(CUDA)
    with CUDA:
        local = network_for(method, 12)
    source = source_for(mixer, augment, **more)
    if mixer.trains_part:
        with CUDA:
            mixer.attach(local, torch.zeros(2, 3, 12, 12))
    return TrainStep(
        local=local,
        plain=Pieces(local, mixing.input_only(local), mixer, source.assemble, metrics.add),
        optimizer=NoOptimizer(),  # type: ignore[arg-type]
        source=source,
        streams=NoStreams(),  # type: ignore[arg-type]
        metrics=metrics,
        autocast=lambda: torch.autocast("cuda", dtype=torch.bfloat16),
        batch_size=8,
        ema=EMA(local, 0.9),
    )


@pytest.mark.filterwarnings("ignore:.*CUDA is not available", "ignore:.*data pointer of FakeTensor")
@pytest.mark.parametrize(
    ("method", "options", "augment"),
    [
        *((*recipe, "crop-flip") for recipe in RECIPES),
        # Of each way to augment: images alone, with saliency maps, and with masks.
        *(
            (method, {"alpha": 1.0}, augment)
            for method in ("cutmix", "saliencymix", "oacutmix")
            for augment in ("none", "resized-crop-flip")
        ),
    ],
    ids=str,
)
def test_a_step_stays_on_its_device(
    elsewhere: FakeTensorMode, method: str, options: dict[str, Any], augment: str
) -> None:
    step = step_for(method, options, augment)
    inputs = (torch.arange(8, device=CUDA),)
    for mix in (False, method != "none"):
        step(inputs, Kind(mix))
    assert step.metrics.sums.device == CUDA


@pytest.mark.filterwarnings("ignore:.*CUDA is not available", "ignore:.*data pointer of FakeTensor")
@pytest.mark.parametrize("name", ["randaugment", "autoaugment-imagenet"])
def test_a_policy_and_erasing_stay_on_the_device(
    elsewhere: FakeTensorMode, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with unset_fake_temporarily():  # a policy's tables are made on the host, before any capture
        tables = policy.policy_tables(Policy(name, (12, 12)), torch.device("cpu"))
    there = policy.PolicyTables(
        *(elsewhere.from_tensor(getattr(tables, f.name)).to(CUDA) for f in fields(tables))
    )
    monkeypatch.setattr(policy, "policy_tables", lambda *key: there)
    more = {"reflect": True, "policy": Policy(name, (12, 12)), "erasing": Erasing(0.5, True)}
    step = step_for("cutmix", {"alpha": 1.0, "label": "mask"}, "crop-flip", **more)
    step((torch.arange(8, device=CUDA),), Kind(mix=True))
    assert step.metrics.sums.device == CUDA


@pytest.mark.filterwarnings("ignore:.*CUDA is not available", "ignore:.*data pointer of FakeTensor")
def test_a_tensor_on_the_host_is_noticed(elsewhere: FakeTensorMode) -> None:
    """Otherwise the test above would prove nothing."""
    step = step_for("cutmix", {}, "none")
    with pytest.raises(RuntimeError, match="device"):
        step((torch.arange(8),), PLAIN)
    with pytest.raises(Exception, match="_local_scalar_dense"):
        torch.zeros((), device=CUDA).item()
