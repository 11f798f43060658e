"""Whole-step CUDA graphs: a step is recorded once for each of its kinds, then replayed."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from saliencymixplus import mixing
from saliencymixplus.data.batches import Inputs
from saliencymixplus.training.step import TrainStep

Kind = tuple[bool, bool, tuple[tuple[int, ...], ...]]
_REHEARSALS = 3  # before recording: cuDNN picks its algorithms, the compiler compiles


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
        with torch.cuda.graph(graph, pool=self._pool):
            function()
        return graph.replay


class EagerEngine:
    """Runs every step as it is written."""

    name = "eager"

    def __init__(self, step: TrainStep) -> None:
        self.step = step

    def run(
        self, inputs: Inputs, mix: bool, *, guided: bool = True, epoch: int, index: int
    ) -> None:
        """One step of ``epoch``; ``index`` counts from 0 within it."""
        self.step.streams.start(epoch, index)
        self.step(inputs, mix, guided=guided)


class GraphEngine:
    """Records each kind of step when it first comes up: plain, mixed, mixed without a saliency
    pass, each with its batch size.

    A replay reads the buffers that the recording read: inputs are copied there, the learning rate
    and the weights' average are device tensors, and the generators get a new seed on the host.
    """

    name = "graph"

    def __init__(self, step: TrainStep, capturer: Capturer) -> None:
        self.step = step
        self.capturer = capturer
        self._recorded: dict[Kind, tuple[Inputs, Callable[[], None]]] = {}
        self._full: int | None = None

    def run(
        self, inputs: Inputs, mix: bool, *, guided: bool = True, epoch: int, index: int
    ) -> None:
        """One step of ``epoch``; ``index`` counts from 0 within it."""
        guided = guided or not mix  # a plain step is one kind
        kind = (mix, guided, tuple(tuple(t.shape) for t in inputs))
        if kind not in self._recorded:
            self._recorded[kind] = self._record(inputs, mix, guided, epoch, index)
        buffers, replay = self._recorded[kind]
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        self.step.streams.start(epoch, index)
        replay()

    def _record(
        self, inputs: Inputs, mix: bool, guided: bool, epoch: int, index: int
    ) -> tuple[Inputs, Callable[[], None]]:
        buffers = tuple(t.clone() for t in inputs)
        self._full = self._full or len(inputs[0])
        # A last, smaller batch would be compiled anew: it takes the network as it is.
        small = len(inputs[0]) != self._full

        def once() -> None:
            self.step(buffers, mix, guided=guided, plain_model=small)

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


def capturable(mixer: mixing.Mixer) -> bool:
    """False where a step calls the CPU: the published SaliencyMix, which hands floats to OpenCV."""
    return mixer.options.get("saliency_map") != "float_bytes"


def create_engine(step: TrainStep, choice: str, device: torch.device) -> tuple[Engine, str]:
    """The engine, and in a few words why this one."""
    if choice == "eager" or device.type != "cuda":
        return EagerEngine(step), "eager"
    if not capturable(step.mixer):
        return EagerEngine(step), "eager (this method's saliency is computed by OpenCV)"
    if step.world > 1:
        return EagerEngine(step), "eager (steps are not captured over several processes)"
    return GraphEngine(step, CudaCapturer(device)), "whole-step CUDA graphs"
