"""Gradient accumulation against one large batch and a naive loop."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine import build
from saliencymixplus.engine.accumulation import Turn, turns
from saliencymixplus.engine.cuda_graph import GraphEngine
from saliencymixplus.engine.step import Kind, TrainStep
from saliencymixplus.errors import UserError
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.signals import Interrupted
from saliencymixplus.training.trainer import train
from tests.engine.test_cuda_graph import FakeCapturer
from tests.helpers import run_settings, same_weights, timeless
from tests.train_apart import without_batch_norm

CPU = torch.device("cpu")


def step_of(tiny: Path, method: str, **more: Any) -> TrainStep:
    run = run_settings(method, batch_size=8, **more)
    return build.assemble(run, load_prepared(tiny), RuntimeSettings(), CPU, say=str).step


def test_the_last_group_of_an_epoch_may_be_smaller() -> None:
    assert turns([8, 8, 8, 8, 4], 3) == [
        Turn(first=True, last=False, rescale=1.0, weight=1.0),
        Turn(first=False, last=False, rescale=1.0, weight=1 / 2),
        Turn(first=False, last=True, rescale=1.0, weight=1 / 3),
        Turn(first=True, last=False, rescale=1.0, weight=1.0),
        Turn(first=False, last=True, rescale=2.0, weight=1 / 3),
    ]
    assert turns([8, 4], 1) == [Turn(), Turn()]


def test_four_batches_of_8_are_one_of_32(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "create_model", without_batch_norm)
    recipe: dict[str, Any] = {
        "augment": "none",
        "schedule": "cosine",
        "warmup_epochs": 1,
        "weight_average": 0.5,
        "clip_grad_norm": 0.5,
    }
    for name, size in (("large", 32), ("small", 8)):
        run = run_settings("none", batch_size=size, accumulate=32 // size, **recipe)
        train(run, tiny, tmp_path / name, runtime)
    for one, other in zip(timeless(tmp_path / "large"), timeless(tmp_path / "small"), strict=True):
        assert one.pop("forward_backward_passes") == 2  # of whole batches, whatever their size
        for key, value in one.items():
            assert other[key] == (None if value is None else pytest.approx(value, rel=1e-4)), key
    large, small = (
        load_file(tmp_path / name / "weights" / "last.safetensors") for name in ("large", "small")
    )
    for key, value in large.items():
        torch.testing.assert_close(small[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "options", "recipe"),
    [
        ("cutmix", {}, {"clip_grad_norm": 0.1, "loss": "bce"}),
        ("saliencymixplus", {"clean_gradient": 0.5}, {}),
    ],
)
def test_mixed_batches_give_what_a_naive_loop_gives(
    tiny: Path, method: str, options: dict[str, Any], recipe: dict[str, Any]
) -> None:
    step, naive = (step_of(tiny, method, options=options, **recipe) for _ in range(2))
    batches = [torch.arange(0, 8), torch.arange(8, 16), torch.arange(16, 20)]
    places = turns([len(batch) for batch in batches], 3)
    for index, inputs in enumerate(step.source.inputs(batches)):
        step.streams.start(1, index)
        step(inputs, Kind(index != 1), places[index])

    parameters = list(naive.local.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for index, inputs in enumerate(naive.source.inputs(batches)):
        naive.streams.start(1, index)
        draws = naive.source.augmentation.draw(len(batches[index]), naive.streams.augment, CPU)
        batch = naive.source.assemble(inputs, draws)
        naive.local.zero_grad()
        mixing.backward(
            naive.local,
            naive.mixer,
            batch.images,
            batch.labels,
            generator=naive.streams.mix,
            mix=index != 1,
            criterion=naive.criterion,
        )
        for total, parameter in zip(sums, parameters, strict=True):
            assert parameter.grad is not None
            total += len(batches[index]) * parameter.grad
    for total, parameter in zip(sums, parameters, strict=True):
        parameter.grad = total / 20
    if naive.clip_grad_norm:
        assert nn.utils.clip_grad_norm_(parameters, naive.clip_grad_norm) > naive.clip_grad_norm
    naive.optimizer.step()

    for ours, theirs in zip(step.local.parameters(), parameters, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "options", "recipe"),
    [
        ("saliencymixplus", {"clean_gradient": 1.0}, {"weight_average": 0.9}),
        ("automix", {}, {}),  # in an unmixed group its own module gets no gradient, so no decay
        ("none", {}, {"freeze_epochs": 1, "clip_grad_norm": 0.1}),
    ],
)
def test_captured_batches_give_the_eager_results(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    options: dict[str, Any],
    recipe: dict[str, Any],
) -> None:
    run = run_settings(method, options=options, batch_size=8, accumulate=3, epochs=2, **recipe)
    train(run, tiny, tmp_path / "eager", runtime)
    fake = FakeCapturer()
    monkeypatch.setattr(
        build,
        "create_engine",
        lambda step, choice, device, say: (GraphEngine(step, fake, say), "faked graphs"),
    )
    train(run, tiny, tmp_path / "graph", runtime)
    assert fake.captures >= 2
    assert fake.replays == 14
    assert same_weights(tmp_path / "eager", tmp_path / "graph")
    assert timeless(tmp_path / "eager") == timeless(tmp_path / "graph")


def test_a_signal_between_two_batches_of_a_step_is_resumed_bit_for_bit(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_settings("cutmix", batch_size=8, accumulate=2, auto_augment="randaugment")
    train(run, tiny, tmp_path / "whole", runtime)
    usual, calls = TrainStep.add_gradients, []

    def add_gradients(step: TrainStep, *arguments: Any, **named: Any) -> None:
        usual(step, *arguments, **named)
        calls.append(1)
        if len(calls) == 10:  # of 7 batches in an epoch: the first one of its second step
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(TrainStep, "add_gradients", add_gradients)
        with pytest.raises(Interrupted, match="saved at epoch 2, step 2"):
            train(run, tiny, tmp_path / "resumed", runtime)
    assert len(calls) == 11, "the step is finished first"
    train(run, tiny, tmp_path / "resumed", runtime)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "resumed")


def test_more_images_than_there_are_are_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match="accumulate 7 × batch_size 8 is more than the 50 training"):
        step_of(tiny, "none", accumulate=7)
