"""Engines that run the training step eagerly, or capture each kind of step in a CUDA graph."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.engine.accumulation import WHOLE, Turn
from saliencymixplus.engine.optimizer import is_capturable
from saliencymixplus.engine.step import TrainStep
from saliencymixplus.loading.batches import Inputs

# Whether mixed, member, whether with a saliency pass, whether with frozen layers, input shapes.
Kind = tuple[bool, int, bool, bool, tuple[tuple[int, ...], ...]]
Say = Callable[[str], object]
_REHEARSALS = 3  # before capturing, for cuDNN to choose algorithms and the compiler to compile


def _silent(text: str) -> None:
    pass


class Capturer(Protocol):
    """Captures a function's work on the device."""

    def rehearse(self, function: Callable[[], None]) -> None:
        """Run the function without capturing it, as a warm-up."""

    def capture(
        self, function: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        """Capture the function without running it.

        Returns a function that replays it, drawing from the current state of ``generators``.
        """


class CudaCapturer:
    """Captures CUDA graphs that share one memory pool."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()

    def rehearse(self, function: Callable[[], None]) -> None:
        """Run the function on a side stream, as torch requires before a capture."""
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
        # Allows other threads to use CUDA meanwhile, such as a loader's that pins memory.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            function()
        return graph.replay


class EagerEngine:
    """Calls the step directly; ``say`` receives compile times."""

    name = "eager"

    def __init__(self, step: TrainStep, say: Say = _silent) -> None:
        self.step, self.say = step, say
        self._seen: set[Kind] = set()

    def run(
        self,
        inputs: Inputs,
        mix: bool,
        *,
        member: int = 0,
        use_saliency: bool = True,
        epoch: int,
        index: int,
        turn: Turn = WHOLE,
    ) -> None:
        """Train on a batch of ``epoch``; ``index`` counts from 0 within it."""
        began, kind = time.perf_counter(), _kind(self.step, inputs, mix, member, use_saliency)
        self.step.streams.start(epoch, index)
        self.step(inputs, mix, member=member, use_saliency=use_saliency, turn=turn)
        if kind not in self._seen:
            self._seen.add(kind)
            if self.step.compiles(inputs):
                took = time.perf_counter() - began
                self.say(f"{_describe(kind, self.step.mixer)}: compiled in {took:.1f} s")


@dataclass(frozen=True)
class Captured:
    """A captured kind of step."""

    inputs: Inputs  # where a replay reads its batch
    replay: Callable[[], None]
    # With ``accumulate``: the parameters whose gradients a replay adds to.
    parameters: tuple[nn.Parameter, ...] = ()


class GraphEngine:
    """Captures each kind of step when it first occurs: plain, mixed by each member of a switch, and
    mixed without a saliency pass, each per batch size and with or without frozen layers.

    Replays read the same addresses as the capture, so inputs are copied there, the learning rate
    and the moving average's decay are device tensors, and the generators are seeded on the host.
    With ``accumulate``, only a batch's gradients are captured, which all kinds add to the same
    tensors, and the optimizer step is eager. ``say`` receives capture times.
    """

    name = "graph"

    def __init__(self, step: TrainStep, capturer: Capturer, say: Say = _silent) -> None:
        self.step, self.say = step, say
        self.capturer = capturer
        self._captured: dict[Kind, Captured] = {}
        self._gradients: dict[nn.Parameter, Tensor] = {}

    def run(
        self,
        inputs: Inputs,
        mix: bool,
        *,
        member: int = 0,
        use_saliency: bool = True,
        epoch: int,
        index: int,
        turn: Turn = WHOLE,
    ) -> None:
        """Train on a batch of ``epoch``; ``index`` counts from 0 within it."""
        kind = _kind(self.step, inputs, mix, member, use_saliency)
        if kind not in self._captured:
            began = time.perf_counter()
            self._captured[kind] = self._capture(inputs, kind, epoch, index)
            how = "compiled and captured" if self.step.compiles(inputs) else "captured"
            took = time.perf_counter() - began
            self.say(f"{_describe(kind, self.step.mixer)}: {how} in {took:.1f} s")
        captured = self._captured[kind]
        for buffer, value in zip(captured.inputs, inputs, strict=True):
            buffer.copy_(value, non_blocking=True)
        self.step.streams.start(epoch, index)
        if self.step.accumulate == 1:
            captured.replay()
            return
        self.step.begin(turn)
        self._attach(captured.parameters)
        captured.replay()
        if turn.last:
            self.step.update(turn)

    def _attach(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give each parameter without a gradient its own one, zeroed."""
        new = [parameter for parameter in parameters if parameter.grad is None]
        if new:
            torch._foreach_zero_([self._gradients[parameter] for parameter in new])
        for parameter in new:
            parameter.grad = self._gradients[parameter]

    def _capture(self, inputs: Inputs, kind: Kind, epoch: int, index: int) -> Captured:
        mix, member, use_saliency, _, _ = kind
        buffers = tuple(t.clone() for t in inputs)
        step, parameters = self.step, list(self.step.local.parameters())
        act = step if step.accumulate == 1 else step.add_gradients

        def once() -> None:
            act(buffers, mix, member=member, use_saliency=use_saliency)

        # Rehearsals train: what they change is restored afterwards.
        kept = [t.detach().clone() for t in step.state()]
        gradients = [parameter.grad for parameter in parameters]
        step.optimizer.zero_grad(set_to_none=True)
        for _ in range(_REHEARSALS):
            step.streams.start(epoch, index)
            self.capturer.rehearse(once)
        reached: list[nn.Parameter] = []
        if step.accumulate > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    reached.append(parameter)
                    parameter.grad = self._gradients.setdefault(parameter, parameter.grad)
        else:
            # Captured gradients live in the graph's memory pool.
            step.optimizer.zero_grad(set_to_none=True)
        replay = self.capturer.capture(once, [step.streams.augment, step.streams.mix])
        with torch.no_grad():
            for tensor, value in zip(step.state(), kept, strict=True):
                tensor.copy_(value)
        if step.accumulate > 1:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        return Captured(buffers, replay, tuple(reached))


Engine = EagerEngine | GraphEngine


def _kind(step: TrainStep, inputs: Inputs, mix: bool, member: int, use_saliency: bool) -> Kind:
    shapes = tuple(tuple(t.shape) for t in inputs)
    if not mix:
        return False, 0, True, step.frozen, shapes
    return True, member, use_saliency, step.frozen, shapes


def _describe(kind: Kind, mixer: mixing.Mixer) -> str:
    mix, member, use_saliency, _, shapes = kind
    name = "mixed" if mix else "plain"
    if mix and len(mixer.members) > 1:
        name = mixer.members[member].method
    return f"{name} step{'' if use_saliency else ' without saliency'} of {shapes[0][0]} images"


def capturable(mixer: mixing.Mixer) -> bool:
    """Whether steps can be captured, i.e. never compute on the CPU."""
    return all(member.options.on_device for member in mixer.members)


def create_engine(
    step: TrainStep, choice: str, device: torch.device, say: Say = _silent
) -> tuple[Engine, str]:
    """The engine for ``choice`` (auto, eager or graph), and a short text on which and why."""
    eager = EagerEngine(step, say)
    if choice == "eager" or device.type != "cuda":
        return eager, "eager (whole-step graphs need CUDA)" if choice == "graph" else "eager"
    if not capturable(step.mixer):
        return eager, "eager (this method computes on the CPU)"
    if not is_capturable(step.optimizer):
        return eager, "eager (timm's optimizers cannot be captured)"
    if step.world > 1:
        return eager, "eager (steps are not captured over several processes)"
    return GraphEngine(step, CudaCapturer(device), say), "whole-step CUDA graphs"
