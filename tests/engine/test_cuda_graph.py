"""The graph engine with a fake capturer: the eager results, and only capturable operations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus import mixing
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine import cuda_graph as graph
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.cuda_graph import CudaCapturer, EagerEngine, GraphEngine, capturable
from saliencymixplus.engine.step import PLAIN, Kind
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.engine.captured import parts_for
from tests.helpers import run_settings, same_weights, timeless

CPU = torch.device("cpu")


class FakeCapturer:
    """Records by remembering the function, and replays by calling it."""

    def __init__(self) -> None:
        self.rehearsals = self.captures = self.replays = 0

    def rehearse(self, function: Callable[[], None]) -> None:
        self.rehearsals += 1
        function()

    def capture(
        self, function: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        self.captures += 1
        assert len(generators) == 2

        def replay() -> None:
            self.replays += 1
            function()

        return replay


def use_fake(monkeypatch: pytest.MonkeyPatch) -> FakeCapturer:
    fake = FakeCapturer()
    monkeypatch.setattr(
        "saliencymixplus.engine.build.create_engine",
        lambda step, choice, device, say: (GraphEngine(step, fake, say), "faked graphs"),
    )
    return fake


@pytest.mark.parametrize(
    ("method", "options", "most", "recipe"),
    [
        ("none", {}, 2, {}),
        ("cutmix", {}, 4, {"optimizer": "adamw", "label_smoothing": 0.1}),
        ("saliencymixplus", {}, 4, {}),
        ("saliencymixplus", {"saliency_every": 2}, 6, {}),
        ("switch", {"members": {"cutmix": 0.5, "saliencymixplus": 0.5}}, 6, {}),
    ],
)
@pytest.mark.parametrize("data_on", ["device", "host"])
def test_captured_steps_give_the_eager_results(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    options: dict[str, Any],
    most: int,
    recipe: dict[str, Any],
    data_on: str,
) -> None:
    settings = run_settings(
        method,
        options=options,
        weight_average=0.9,
        schedule="cosine",
        warmup_epochs=1,
        mix_prob=0.7,
        **recipe,
    )
    how = runtime.model_copy(update={"data_on": data_on, "workers": 0})
    train(settings, tiny, tmp_path / "eager", how)
    fake = use_fake(monkeypatch)
    train(settings, tiny, tmp_path / "graph", how)
    assert same_weights(tmp_path / "eager", tmp_path / "graph")
    assert timeless(tmp_path / "eager") == timeless(tmp_path / "graph")
    # Plain, mixed and mixed without a saliency pass, each with the full batch and with the last,
    # smaller one, if they came up.
    assert fake.replays == 12
    assert 2 <= fake.captures <= most
    assert fake.rehearsals == 3 * fake.captures


def test_compile_time_is_said(tiny: Path) -> None:
    """Once for each kind of step, and only where something was compiled or captured."""
    said: list[str] = []
    parts = parts_for(tiny, "saliencymixplus")
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    EagerEngine(parts.step, said.append).run(inputs, Kind(mix=True), epoch=1, index=0)
    assert said == []
    parts.step.compiled = parts.step.plain
    eager = EagerEngine(parts.step, said.append)
    captured = GraphEngine(parts.step, FakeCapturer(), said.append)
    for engine in (eager, captured):
        for mix in (True, True, False):
            engine.run(inputs, Kind(mix), epoch=1, index=0)
    assert [line.rpartition(" in ")[0] for line in said] == [
        "mixed step of 8 images: compiled",
        "plain step of 8 images: compiled",
        "mixed step of 8 images: compiled and captured",
        "plain step of 8 images: compiled and captured",
    ]


def test_each_member_of_a_switch_is_captured_once(tiny: Path) -> None:
    members = {"cutmix": 0.5, "saliencymixplus": {"probability": 0.5, "saliency_every": 2}}
    parts, fake = parts_for(tiny, "switch", options={"members": members}), FakeCapturer()
    said: list[str] = []
    engine = GraphEngine(parts.step, fake, said.append)
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    for member, use_saliency in ((0, True), (1, True), (1, False)) * 2:
        for mix in (True, False):
            engine.run(inputs, Kind(mix, member, use_saliency), epoch=1, index=0)
    assert fake.captures == 4
    assert [line.partition(":")[0] for line in said] == [
        "cutmix step of 8 images",
        "plain step of 8 images",
        "saliencymixplus step of 8 images",
        "saliencymixplus step without saliency of 8 images",
    ]


def test_a_plain_step_is_captured_once_with_saliency_or_without(tiny: Path) -> None:
    parts, fake = parts_for(tiny, "saliencymixplus"), FakeCapturer()
    engine = GraphEngine(parts.step, fake)
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    for mix, use_saliency in ((False, True), (False, False), (True, True), (True, False)):
        engine.run(inputs, Kind(mix, use_saliency=use_saliency), epoch=1, index=0)
    assert fake.captures == 3


def test_frozen_layers_are_captured_anew(tiny: Path) -> None:
    parts, fake = parts_for(tiny, "none"), FakeCapturer()
    engine = GraphEngine(parts.step, fake)
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    for index, frozen in enumerate((True, True, False, False)):
        parts.step.freeze(frozen)
        engine.run(inputs, PLAIN, epoch=1, index=index)
    assert fake.captures == 2


def test_a_replay_leaves_earlier_inputs_alone(tiny: Path) -> None:
    parts = parts_for(tiny, "none")
    engine = GraphEngine(parts.step, FakeCapturer())
    batches = list(parts.sources["train"].inputs(torch.arange(16).split(8)))
    for index, inputs in enumerate(batches):
        engine.run(inputs, PLAIN, epoch=1, index=index)
    assert torch.equal(batches[0][0], torch.arange(8))


def test_recording_leaves_no_trace(tiny: Path) -> None:
    parts = parts_for(tiny, "saliencymixplus", weight_average=0.9)
    engine = GraphEngine(parts.step, FakeCapturer())
    assert parts.step.ema is not None
    parts.step.ema.set_step(3)
    before = [t.clone() for t in parts.step.state()]
    (inputs,) = parts.sources["train"].inputs([torch.arange(8)])
    engine._capture(inputs, Kind(mix=True), 1, 0)
    for now, then in zip(parts.step.state(), before, strict=True):
        assert torch.equal(now, then)
    parts.step.streams.start(1, 0)
    parts.step(inputs, Kind(mix=True))
    changed = [not torch.equal(a, b) for a, b in zip(parts.step.state(), before, strict=True)]
    # Else the comparison above would prove nothing; only the "no bad step" mark may stay.
    assert sum(changed) >= len(changed) - 1


def test_what_calls_opencv_is_run_eagerly(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = parts_for(tiny, "saliencymix", weight_average=None)
    assert capturable(parts.step.mixer)
    published = mixing.create("saliencymix", saliency_map="float_bytes")
    parts.step.plain = replace(parts.step.plain, mixer=published)
    monkeypatch.setattr(graph, "CudaCapturer", lambda device: FakeCapturer())
    cuda = torch.device("cuda")
    engine, why = graph.create_engine(parts.step, "auto", cuda)
    assert isinstance(engine, EagerEngine)
    assert "on the CPU" in why
    parts.step.plain = replace(parts.step.plain, mixer=mixing.create("cutmix"))
    assert isinstance(graph.create_engine(parts.step, "auto", cuda)[0], GraphEngine)
    assert isinstance(graph.create_engine(parts.step, "eager", cuda)[0], EagerEngine)
    assert graph.create_engine(parts.step, "auto", CPU)[1] == "eager"
    assert "CUDA" in graph.create_engine(parts.step, "graph", CPU)[1]


def test_steps_of_several_processes_are_run_eagerly(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, cuda = parts_for(tiny, "cutmix").step, torch.device("cuda")
    monkeypatch.setattr(graph, "CudaCapturer", lambda device: FakeCapturer())
    for world, kind in ((1, GraphEngine), (2, EagerEngine)):
        engine, why = graph.create_engine(replace(step, world=world), "auto", cuda, print)
        assert isinstance(engine, kind)
        assert ("processes" in why) == (world == 2)
        assert engine.say is print


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["none", "cutmix", "saliencymix", "saliencymixplus"])
def test_cuda_graphs_give_the_eager_results(tiny: Path, tmp_path: Path, method: str) -> None:
    settings = run_settings(method, precision="fp32", epochs=2)
    ways = {"eager": ("eager", False), "graph": ("graph", False), "compiled": ("graph", True)}
    for name, (engine, compile_) in ways.items():
        how = RuntimeSettings.model_validate(
            {
                "device": "cuda",
                "tracker": "none",
                "progress": "none",
                "engine": engine,
                "compile": compile_,
                "deterministic": True,
            }
        )
        train(settings, tiny, tmp_path / name, how)
    eager, captured, compiled = (timeless(tmp_path / name) for name in ways)
    for first, second, third in zip(eager, captured, compiled, strict=True):
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-3)
        assert first["train_loss"] == pytest.approx(third["train_loss"], rel=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_epoch_does_not_synchronise(tiny: Path) -> None:
    device = torch.device("cuda", 0)
    run = run_settings("saliencymixplus", batch_size=8)
    parts = assemble(run, load_prepared(tiny), RuntimeSettings(device="cuda"), device, say=str)
    assert isinstance(parts.engine, GraphEngine)
    assert isinstance(parts.engine.capturer, CudaCapturer)
    batches = list(parts.sources["train"].inputs(torch.arange(48).split(8)))
    for index, inputs in enumerate(batches):
        parts.engine.run(inputs, Kind(index % 2 == 0), epoch=1, index=index)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index, inputs in enumerate(batches):
            parts.engine.run(inputs, Kind(index % 2 == 0), epoch=2, index=index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
