"""Engines that run the training step eagerly, or capture each kind of step in a CUDA graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.engine.accumulation import WHOLE, Turn
from saliencymixplus.engine.optimizer import is_capturable
from saliencymixplus.engine.step import PLAIN, Kind, TrainStep
from saliencymixplus.loading.batches import Inputs

Say = Callable[[str], object]
_REHEARSALS = 3  # before capturing, for cuDNN to choose algorithms and the compiler to compile


def _silent(text: str) -> None:
    pass


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
        """Capture the function without running it.

        Returns a function that replays it, drawing from the current state of ``generators``.
        """
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        # Allows other threads to use CUDA meanwhile, such as a loader's that pins memory.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            function()
        return graph.replay


@dataclass(frozen=True)
class Case:
    """Steps that share their compiled or captured code."""

    kind: Kind
    frozen: bool  # only the head is trained
    shapes: tuple[tuple[int, ...], ...]  # of the inputs

    def describe(self, mixer: mixing.Mixer) -> str:
        """A few words, such as "cutmix step of 64 images"."""
        name = "mixed" if self.kind.mix else "plain"
        if self.kind.mix and len(mixer.members) > 1:
            name = mixer.members[self.kind.member].method
        without = "" if self.kind.use_saliency else " without saliency"
        return f"{name} step{without} of {self.shapes[0][0]} images"


class EagerEngine:
    """Calls the step directly; ``say`` receives how long compiling took."""

    name = "eager"
    prepares: tuple[str, ...] = ()  # for messages: what the first step of a case also does

    def __init__(self, step: TrainStep, say: Say = _silent) -> None:
        self.step, self.say = step, say
        self._seen: set[Case] = set()

    def run(
        self, inputs: Inputs, kind: Kind, *, epoch: int, index: int, turn: Turn = WHOLE
    ) -> None:
        """Train on a batch of ``epoch``; ``index`` counts from 0 within it."""
        shapes = tuple(tuple(t.shape) for t in inputs)
        case, began = Case(kind if kind.mix else PLAIN, self.step.frozen, shapes), perf_counter()
        self._run(inputs, case, epoch, index, turn)
        if case not in self._seen:
            self._seen.add(case)
            done = [*(["compiled"] if self.step.compiles(inputs) else []), *self.prepares]
            if done:
                took = perf_counter() - began
                what = case.describe(self.step.mixer)
                self.say(f"{what}: {' and '.join(done)} in {took:.1f} s")

    def _run(self, inputs: Inputs, case: Case, epoch: int, index: int, turn: Turn) -> None:
        self.step.streams.start(epoch, index)
        self.step(inputs, case.kind, turn)


@dataclass(frozen=True)
class Captured:
    """A captured step."""

    inputs: Inputs  # where a replay reads its batch
    replay: Callable[[], None]
    # With ``accumulate``: the parameters whose gradients a replay adds to.
    parameters: tuple[nn.Parameter, ...] = ()


class GraphEngine(EagerEngine):
    """Captures each case when it first occurs: plain, mixed by each member of a switch, and mixed
    without a saliency pass, each per batch size and with or without frozen layers.

    Replays read the same addresses as the capture, so inputs are copied there, the learning rate
    and the moving average's decay are device tensors, and the generators are seeded on the host.
    With ``accumulate``, only a batch's gradients are captured, which all cases add to the same
    tensors, and the optimizer step is eager. ``say`` receives how long capturing took.
    """

    name = "graph"
    prepares = ("captured",)

    def __init__(self, step: TrainStep, capturer: CudaCapturer, say: Say = _silent) -> None:
        super().__init__(step, say)
        self.capturer = capturer
        self._captured: dict[Case, Captured] = {}
        self._gradients: dict[nn.Parameter, Tensor] = {}

    def _run(self, inputs: Inputs, case: Case, epoch: int, index: int, turn: Turn) -> None:
        if case not in self._captured:
            self._captured[case] = self._capture(inputs, case.kind, epoch, index)
        captured = self._captured[case]
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
        """Set each missing gradient to the parameter's captured one, zeroed."""
        new = [parameter for parameter in parameters if parameter.grad is None]
        if new:
            torch._foreach_zero_([self._gradients[parameter] for parameter in new])
        for parameter in new:
            parameter.grad = self._gradients[parameter]

    def _capture(self, inputs: Inputs, kind: Kind, epoch: int, index: int) -> Captured:
        buffers = tuple(t.clone() for t in inputs)
        step, parameters = self.step, list(self.step.local.parameters())
        act = step if step.accumulate == 1 else step.add_gradients

        def once() -> None:
            act(buffers, kind)

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


def capturable(mixer: mixing.Mixer) -> bool:
    """Whether steps can be captured, i.e. never compute on the CPU."""
    return all(member.options.on_device for member in mixer.members)


def create_engine(
    step: TrainStep, choice: str, device: torch.device, say: Say = _silent
) -> tuple[EagerEngine, str]:
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
