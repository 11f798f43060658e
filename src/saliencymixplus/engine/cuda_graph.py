"""Whole-step CUDA graphs: a step is recorded once for each of its kinds, then replayed."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from saliencymixplus import mixing
from saliencymixplus.engine.step import TrainStep
from saliencymixplus.loading.batches import Inputs

Kind = tuple[bool, bool, tuple[tuple[int, ...], ...]]
Say = Callable[[str], object]
_REHEARSALS = 3  # before recording: cuDNN picks its algorithms, the compiler compiles


def _silent(text: str) -> None:
    pass


class Capturer(Protocol):
    """Records what a function does on the device."""

    def rehearse(self, function: Callable[[], None]) -> None:
        """Run it outside of a recording."""

    def capture(
        self, function: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        """Record it, without running it; returns what replays it with the generators' state."""


class CudaCapturer:
    """Records into CUDA graphs that share one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()

    def rehearse(self, function: Callable[[], None]) -> None:
        """On a side stream, as capturing needs it."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def capture(
        self, function: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # Other threads go on: a loader's, for one, pins memory meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            function()
        return graph.replay


class EagerEngine:
    """Runs every step as it is written; ``say`` is told how long compiling took."""

    name = "eager"

    def __init__(self, step: TrainStep, say: Say = _silent) -> None:
        self.step, self.say = step, say
        self._seen: set[Kind] = set()

    def run(
        self, inputs: Inputs, mix: bool, *, use_saliency: bool = True, epoch: int, index: int
    ) -> None:
        """One step of ``epoch``; ``index`` counts from 0 within it."""
        began, kind = time.perf_counter(), _kind(inputs, mix, use_saliency)
        self.step.streams.start(epoch, index)
        self.step(inputs, mix, use_saliency=use_saliency)
        if kind not in self._seen:
            self._seen.add(kind)
            if self.step.compiles(inputs):
                self.say(f"{_describe(kind)}: compiled in {time.perf_counter() - began:.1f} s")


class GraphEngine:
    """Records each kind of step when it first comes up: plain, mixed, mixed without a saliency
    pass, each with its batch size.

    A replay reads the buffers that the recording read: inputs are copied there, the learning rate
    and the weights' average are device tensors, and the generators get a new seed on the host.
    ``say`` is told how long recording took.
    """

    name = "graph"

    def __init__(self, step: TrainStep, capturer: Capturer, say: Say = _silent) -> None:
        self.step, self.say = step, say
        self.capturer = capturer
        self._recorded: dict[Kind, tuple[Inputs, Callable[[], None]]] = {}

    def run(
        self, inputs: Inputs, mix: bool, *, use_saliency: bool = True, epoch: int, index: int
    ) -> None:
        """One step of ``epoch``; ``index`` counts from 0 within it."""
        kind = _kind(inputs, mix, use_saliency)
        if kind not in self._recorded:
            began = time.perf_counter()
            self._recorded[kind] = self._record(inputs, mix, use_saliency, epoch, index)
            how = "compiled and captured" if self.step.compiles(inputs) else "captured"
            self.say(f"{_describe(kind)}: {how} in {time.perf_counter() - began:.1f} s")
        buffers, replay = self._recorded[kind]
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        self.step.streams.start(epoch, index)
        replay()

    def _record(
        self, inputs: Inputs, mix: bool, use_saliency: bool, epoch: int, index: int
    ) -> tuple[Inputs, Callable[[], None]]:
        buffers = tuple(t.clone() for t in inputs)

        def once() -> None:
            self.step(buffers, mix, use_saliency=use_saliency)

        # Rehearsals train: whatever they change is put back, so that they leave no trace.
        kept = [t.detach().clone() for t in self.step.state()]
        for _ in range(_REHEARSALS):
            self.step.streams.start(epoch, index)
            self.capturer.rehearse(once)
        # The gradients of the recording live in its own memory.
        self.step.optimiser.zero_grad(set_to_none=True)
        streams = self.step.streams
        replay = self.capturer.capture(once, [streams.augment, streams.mix])
        with torch.no_grad():
            for tensor, value in zip(self.step.state(), kept, strict=True):
                tensor.copy_(value)
        return buffers, replay


Engine = EagerEngine | GraphEngine


def _kind(inputs: Inputs, mix: bool, use_saliency: bool) -> Kind:
    return (mix, use_saliency or not mix, tuple(tuple(t.shape) for t in inputs))


def _describe(kind: Kind) -> str:
    mix, use_saliency, shapes = kind
    name = ("mixed" if mix else "plain") + " step" + ("" if use_saliency else " without saliency")
    return f"{name} of {shapes[0][0]} images"


def capturable(mixer: mixing.Mixer) -> bool:
    """False where a step calls the CPU."""
    return mixer.options.on_device


def create_engine(
    step: TrainStep, choice: str, device: torch.device, say: Say = _silent
) -> tuple[Engine, str]:
    """The engine, and in a few words why this one."""
    eager = EagerEngine(step, say)
    if choice == "eager" or device.type != "cuda":
        return eager, "eager (whole-step graphs need CUDA)" if choice == "graph" else "eager"
    if not capturable(step.mixer):
        return eager, "eager (this method computes on the CPU)"
    if step.world > 1:
        return eager, "eager (steps are not captured over several processes)"
    return GraphEngine(step, CudaCapturer(device), say), "whole-step CUDA graphs"
