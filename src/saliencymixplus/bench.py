"""What a training step costs on this machine, for every method; the real step, on random images."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.data.augment import Augmentation
from saliencymixplus.data.batches import DeviceData, Inputs
from saliencymixplus.data.prepared import Split
from saliencymixplus.models import create_model
from saliencymixplus.settings import ExperimentSettings, MixSettings, TrainingSettings
from saliencymixplus.training.assembly import networks
from saliencymixplus.training.device import (
    autocast_for,
    choose_device,
    choose_dtype,
    device_settings,
    use_threads_for,
)
from saliencymixplus.training.flops import FlopCounter, forward_flops
from saliencymixplus.training.graph import create_engine
from saliencymixplus.training.optimiser import create_optimiser
from saliencymixplus.training.randomness import Streams
from saliencymixplus.training.step import TrainStep
from saliencymixplus.training.totals import Totals

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class BenchSettings:
    """What is measured.

    Attributes:
        image_size: side of the network's input, in pixels.
        images, epochs: of the experiment whose duration is estimated.
        mix_prob: share of its steps that are mixed.
        rounds: measurements of each figure, of which the median is taken.
    """

    device: str = "auto"
    model: str = "resnet18"
    batch_size: int = 128
    image_size: int = 32
    classes: int = 100
    augment: str = "flip"
    precision: str = "auto"
    engine: str = "auto"
    compile: bool = False
    mixes: tuple[MixSettings, ...] = ()
    images: int = 50_000
    epochs: int = 200
    mix_prob: float = 0.5
    rounds: int = 20
    warmup: int = 5
    seconds: float = 0.05  # a round takes at least this long


# Training images and classes, to estimate how long an experiment takes before it is fetched.
OFFICIAL = {
    "digits": (1_437, 10),
    "cifar10": (50_000, 10),
    "cifar100": (50_000, 100),
    "oxford_pet": (3_680, 37),
}


def settings_for(section: ExperimentSettings, **given: Any) -> BenchSettings:
    """What an experiment's section says, with ``given`` (fields of ``BenchSettings``) on top.

    Of the user's own images the number is not known before they are prepared: an estimate is
    then for as many as CIFAR-10 has.
    """
    training = section.training
    images, classes = OFFICIAL.get(section.download.source, OFFICIAL["cifar10"])
    return BenchSettings(
        model=section.model.name,
        batch_size=training.batch_size,
        image_size=training.crop_size or section.data.image_size,
        classes=classes,
        images=images,
        epochs=training.epochs,
        mix_prob=training.mix_prob,
        precision=training.precision,
        **given,
    )


def bench(settings: BenchSettings, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure every method's step; the figures are described by their names.

    Raises:
        UserError: a setting that cannot be had on this machine.
    """
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.precision, device)
    with device_settings(device, deterministic=False):
        side = settings.image_size
        network = create_model(settings.model, settings.classes, side)
        use_threads_for(device, 3 * forward_flops(network, settings.batch_size, (side, side)))
        threads = torch.get_num_threads()
        clock = Clock(device, settings)
        peak = matmul_peak(clock, device, dtype)
        say(f"largest matrix product: {peak / 1e12:.2f} TFLOP/s in {_name(dtype)}")
        steps = []
        for mix in settings.mixes:
            steps.append(measure(settings, mix, clock, device, dtype))
            say(f"{mix.name}: {steps[-1]['ms']:.4g} ms")
    plain = next((s for s in steps if s["method"] == "none"), None)
    count = -(-settings.images // settings.batch_size)
    for found in steps:
        found["images_per_second"] = 1000 * settings.batch_size / found["ms"]
        found["share_of_peak"] = found["flops"] / (found["ms"] / 1000) / peak
        if plain:
            share = settings.mix_prob if found["method"] != "none" else 0.0
            average = share * found["ms"] + (1 - share) * plain["ms"]
            found["ratio_to_plain"] = found["ms"] / plain["ms"]
            found["mixing_share_of_plain"] = found["mixing_ms"] / plain["ms"]
            found["experiment_hours"] = average * count * settings.epochs / 3.6e6
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": _hardware(device),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
        "threads": threads if device.type == "cpu" else None,
        "settings": {**vars(settings), "mixes": [mix.model_dump() for mix in settings.mixes]},
        "precision": _name(dtype),
        "matmul_peak_tflops": peak / 1e12,
        "steps": steps,
    }


class Clock:
    """Milliseconds of a function: medians of rounds after a warm-up, by device events on a GPU."""

    def __init__(self, device: torch.device, settings: BenchSettings) -> None:
        self.device, self.settings = device, settings

    def median_ms(self, function: Callable[[], object]) -> float:
        for _ in range(self.settings.warmup):
            function()
        once = self._round(function, 1)
        repeats = max(1, min(200, round(self.settings.seconds * 1000 / max(once, 1e-3))))
        rounds = [self._round(function, repeats) for _ in range(self.settings.rounds)]
        return statistics.median(rounds)

    def _round(self, function: Callable[[], object], repeats: int) -> float:
        if self.device.type == "cuda":
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            for _ in range(repeats):
                function()
            last.record()
            last.synchronize()
            return first.elapsed_time(last) / repeats
        began = time.perf_counter()
        for _ in range(repeats):
            function()
        if self.device.type == "mps":
            torch.mps.synchronize()
        return 1000 * (time.perf_counter() - began) / repeats


def measure(
    settings: BenchSettings,
    mix: MixSettings,
    clock: Clock,
    device: torch.device,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """One recipe: a whole step, the mixing in it, and its arithmetic."""
    mixer = mixing.create(mix.method, **mix.options)
    step, inputs = _training(settings, mixer, device, dtype)
    engine, why = create_engine(step, settings.engine, device)
    mixed = mix.method != "none"
    indices = iter(range(10**9))

    def run(guided: bool = True) -> None:
        engine.run(inputs, mixed, guided=guided, epoch=1, index=next(indices))

    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    first = time.perf_counter() - began
    ms, flops = clock.median_ms(run), step_flops(step, inputs, mixed)
    every = mixer.options.get("saliency_every", 1) if mixer.needs_model else 1
    if every > 1:  # the mean over the steps with and without a saliency pass
        rest = 1 - 1 / every
        ms = ms / every + rest * clock.median_ms(lambda: run(guided=False))
        flops = flops / every + rest * step_flops(step, inputs, mixed, guided=False)
    return {
        "method": mix.name,
        "engine": why,
        "ms": ms,
        "first_step_seconds": first,  # with compiling and capturing
        "mixing_ms": _mixing_ms(step, inputs, clock) if mixed else 0.0,
        "flops": flops,
    }


def step_flops(step: TrainStep, inputs: Inputs, mix: bool, *, guided: bool = True) -> float:
    """Floating-point operations of the matrix products and convolutions of a step."""
    with FlopCounter() as counter:
        step(inputs, mix, guided=guided, plain_model=True)
    return float(counter.flops)


def matmul_peak(clock: Clock, device: torch.device, dtype: torch.dtype) -> float:
    """The highest measured rate of square matrix products, in FLOP/s."""
    sizes = (4096, 8192) if device.type == "cuda" else (512, 1024, 2048)
    best = 0.0
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        ms = clock.median_ms(lambda a=a, b=b: a @ b)  # type: ignore[misc]
        best = max(best, 2 * size**3 / (ms / 1000))
    return best


def table(result: dict[str, Any]) -> "Table":
    """The figures for a terminal."""
    from rich.table import Table

    settings = result["settings"]
    title = (
        f"{settings['model']}, batch {settings['batch_size']}, {settings['image_size']} px, "
        f"{result['precision']}, {result['hardware']}"
    )
    found = Table(title=title, caption=f"torch {result['versions']['torch']}, {result['when']}")
    found.add_column("method", no_wrap=True)
    for name in ("ms/step", "× plain", "mixing", "images/s", "of peak", "whole run"):
        found.add_column(name, justify="right")
    for step in result["steps"]:
        hours = step.get("experiment_hours")
        found.add_row(
            step["method"],
            f"{step['ms']:.2f}",
            f"{step['ratio_to_plain']:.2f}" if "ratio_to_plain" in step else "",
            f"{100 * step.get('mixing_share_of_plain', 0.0):.1f} %",
            f"{step['images_per_second']:,.0f}",
            f"{100 * step['share_of_peak']:.0f} %",
            "" if hours is None else f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min",
        )
    return found


def _training(
    settings: BenchSettings, mixer: mixing.Mixer, device: torch.device, dtype: torch.dtype
) -> tuple[TrainStep, Inputs]:
    """The trainer's own step, on random images."""
    recipe = TrainingSettings.model_validate(
        {"batch_size": settings.batch_size, "augment": settings.augment}
    )
    side, count = settings.image_size, 4 * settings.batch_size
    rng = np.random.default_rng(0)
    split = Split(
        "train",
        rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        rng.integers(0, settings.classes, count),
        rng.integers(0, 256, (count, side, side), dtype=np.uint8),
        None,
        [],
    )
    augmentation = Augmentation(settings.augment, (side, side), (side, side), 4)
    source = DeviceData(
        split, augmentation, (0.5,) * 3, (0.25,) * 3, device, saliency=mixer.needs_saliency
    )
    torch.manual_seed(0)
    local: nn.Module = create_model(settings.model, settings.classes, side).train()
    local = local.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = TrainStep(
        **networks(local, local, settings.compile),
        optimiser=create_optimiser(local, recipe),
        mixer=mixer,
        source=source,
        streams=Streams(0, device),
        totals=Totals(device),
        autocast=autocast_for(dtype, device),
    )
    (inputs,) = source.inputs([torch.arange(settings.batch_size)])
    return step, inputs


def _mixing_ms(step: TrainStep, inputs: Inputs, clock: Clock) -> float:
    """Drawing, boxes, pasting and labels; without the saliency pass."""
    batch = step.source.assemble(inputs)
    maps: Tensor | None = batch.saliency
    if step.mixer.needs_model:
        maps = torch.rand(batch.images.shape[0], *batch.images.shape[2:], device=step.source.device)
    return clock.median_ms(
        lambda: step.mixer(batch.images, batch.labels, generator=step.streams.mix, saliency=maps)
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
        return f"{names[0]}, {len(names)} cores" if device.type == "cpu" else device.type
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()} ({device.type})"


def _name(dtype: torch.dtype) -> str:
    return {torch.bfloat16: "bf16", torch.float32: "fp32"}[dtype]
