"""Measure the cost of the real training step of every method, on random images."""

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from saliencymixplus import mixing
from saliencymixplus.bench.clock import Clock, matmul_peak
from saliencymixplus.bench.random_step import step_on_random_images
from saliencymixplus.bench.settings import BenchSettings
from saliencymixplus.engine.cuda_graph import EagerEngine, GraphEngine, create_engine
from saliencymixplus.engine.device import (
    choose_device,
    choose_dtype,
    device_settings,
    fresh_compiler,
    threads_for,
)
from saliencymixplus.engine.flops import FlopCounter, training_flops
from saliencymixplus.engine.step import Kind, TrainStep
from saliencymixplus.errors import NetworkError
from saliencymixplus.loading.batches import Inputs
from saliencymixplus.models import create_model
from saliencymixplus.progress import progress
from saliencymixplus.runs.provenance import device_name
from saliencymixplus.settings import MixSettings

Run = Callable[[], object]


def bench(settings: BenchSettings, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure every method's step; the keys of the result describe the numbers.

    Raises:
        UserError: a setting is not supported on this machine.
    """
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.precision, device)
    with device_settings(device, deterministic=False):
        side = settings.image_size
        network = create_model(settings.model, settings.classes, side)
        if device.type == "cpu":
            flops = training_flops(network, settings.batch_size, (side, side))
            torch.set_num_threads(threads_for(flops))
        threads = torch.get_num_threads()
        clock = Clock(device, settings.rounds, settings.warmup, settings.seconds)
        peak = matmul_peak(clock, device, dtype)
        say(f"largest matrix product: {peak / 1e12:.2f} TFLOP/s in {_name(dtype)}")
        steps: list[dict[str, Any]] = []
        plain_step: Run | None = None
        with fresh_compiler(settings.compile):
            mixes = sorted(settings.mixes, key=lambda mix: mix.method != "none")
            with progress("measuring", len(mixes), say, "methods") as advance:
                for mix in mixes:
                    advance(1)
                    try:
                        found, run = measure_steps(
                            settings, mix, clock, device, dtype, say, plain_step
                        )
                    except NetworkError as error:
                        if len(mixes) == 1:
                            raise
                        say(f"{mix.name} is left out: {error}")
                        continue
                    plain_step = run if mix.method == "none" else plain_step
                    steps.append(found)
                    say(f"{mix.name}: {found['ms']:.4g} ms")
    plain = next((s for s in steps if s["method"] == "none"), None)
    if plain:  # measured alongside every method
        plain["ms"] = statistics.median(found["plain_ms"] for found in steps)
    count = -(-settings.images // settings.batch_size)
    for found in steps:
        found["images_per_second"] = 1000 * settings.batch_size / found["ms"]
        found["share_of_peak"] = found["flops"] / (found["ms"] / 1000) / peak
        if plain:
            fraction = settings.mix_prob if found["method"] != "none" else 0.0
            # Computed from the ratio, which is hardly affected by other load on the machine.
            found["mean_ms"] = plain["ms"] * (1 + fraction * (found["ratio_to_plain"] - 1))
            found["mixing_share_of_plain"] = found["mixing_ms"] / plain["ms"]
            found["experiment_hours"] = found["mean_ms"] * count * settings.epochs / 3.6e6
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": device_name(device),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
        "threads": threads if device.type == "cpu" else None,
        "settings": {
            **vars(settings),
            "training": settings.training.model_dump(mode="json"),
            "mixes": [mix.model_dump() for mix in settings.mixes],
        },
        "precision": _name(dtype),
        "matmul_peak_tflops": peak / 1e12,
        "steps": steps,
    }


def measure_steps(
    settings: BenchSettings,
    mix: MixSettings,
    clock: Clock,
    device: torch.device,
    dtype: torch.dtype,
    say: Callable[[str], None],
    plain: Run | None = None,
) -> tuple[dict[str, Any], Run]:
    """Measure one recipe: a whole step compared with the ``plain`` one, its mixing, and its FLOPs.

    For recipes with several kinds of mixed steps (members of a switch, steps with and without a
    saliency pass), the numbers are means over these.

    Returns the numbers, and a function that runs the step.
    """
    mixer = mixing.create(mix.method, **mix.options)
    step, inputs = step_on_random_images(settings, mixer, device, dtype)
    engine, why = create_engine(step, settings.engine, device, say)
    indices = iter(range(10**9))

    def runs(kind: Kind) -> Run:
        return lambda: engine.run(inputs, kind, epoch=1, index=next(indices))

    kinds = list(_kinds(mixer))
    began = time.perf_counter()
    for _, kind in kinds:
        runs(kind)()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    first = time.perf_counter() - began
    timings = [(weight, clock.compare(runs(kind), plain)) for weight, kind in kinds]
    mixed = mix.method != "none"
    figures = {
        "method": mix.name,
        "engine": why,
        "ms": sum(weight * timing.ms for weight, timing in timings),
        "first_step_seconds": first,  # with compiling and capturing
        "mixing_ms": mixing_ms(step, engine, inputs, clock) if mixed else 0.0,
        "flops": sum(weight * step_flops(step, inputs, kind) for weight, kind in kinds),
    }
    if plain or not mixed:
        figures["ratio_to_plain"] = sum(weight * timing.ratio for weight, timing in timings)
        figures["plain_ms"] = timings[0][1].reference_ms
    return figures, runs(kinds[0][1])


def _kinds(mixer: mixing.Mixer) -> Iterator[tuple[float, Kind]]:
    """Yield each kind of mixed step and its fraction."""
    for member, probability in enumerate(mixer.probabilities):
        chosen = mixer.members[member]
        mixes = chosen.method != "none"
        every = chosen.options.saliency_every if chosen.needs_model else 1
        yield probability / every, Kind(mixes, member)
        if every > 1:
            yield probability * (1 - 1 / every), Kind(mixes, member, use_saliency=False)


def step_flops(step: TrainStep, inputs: Inputs, kind: Kind) -> float:
    """Floating-point operations of the matrix products and convolutions of a step."""
    with FlopCounter() as counter:
        replace(step, compiled=None)(inputs, kind)
    return float(counter.flops)


def mixing_ms(step: TrainStep, engine: EagerEngine, inputs: Inputs, clock: Clock) -> float:
    """Time of drawing boxes, pasting and labels in ms, captured if possible; no saliency pass."""
    batch = step.source.assemble(inputs)
    mixers = step.compiled.mixer if step.compiled else step.mixer

    def median(mixer: mixing.Mixer) -> float:
        maps: Tensor | None = batch.saliency
        network = step.saliency_model if mixer.trains_part else None
        if mixer.needs_model and network is None:
            shape = (batch.images.shape[0], *batch.images.shape[2:])
            maps = torch.rand(shape, device=step.source.device)

        def mix() -> None:
            mixer(
                batch.images,
                batch.labels,
                generator=step.streams.mix,
                model=network,
                saliency=maps,
                masks=batch.masks,
            )

        if not isinstance(engine, GraphEngine):
            return clock.median_ms(mix)
        engine.capturer.rehearse(mix)
        return clock.median_ms(engine.capturer.capture(mix, [step.streams.mix]))

    chances = zip(mixers.probabilities, mixers.members, strict=True)
    return sum(probability * median(mixer) for probability, mixer in chances)


def _name(dtype: torch.dtype) -> str:
    return {torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]
