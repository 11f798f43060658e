"""The benchmark: FLOPs against hand counts, and consistent figures."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import pytest
import torch
from torch import nn

from saliencymixplus.bench.clock import Clock, Timing, matmul_peak
from saliencymixplus.bench.settings import BenchSettings, settings_for
from saliencymixplus.bench.steps import bench, measure_steps
from saliencymixplus.bench.table import table
from saliencymixplus.engine.cuda_graph import EagerEngine, GraphEngine
from saliencymixplus.engine.flops import FlopCounter, training_flops
from saliencymixplus.engine.step import Kind
from saliencymixplus.loading.augment import Augmentation
from saliencymixplus.mixing import METHODS, resolve_options
from saliencymixplus.settings import ExperimentSettings, MixSettings

SMALL = BenchSettings(
    device="cpu",
    model="resnet8",
    batch_size=8,
    image_size=8,
    prepared_size=8,
    classes=3,
    precision="fp32",
    rounds=1,
    warmup=0,
    seconds=0.0,
)


def recipe(method: str, name: str = "", **options: Any) -> MixSettings:
    resolved = resolve_options(method, options)
    return MixSettings(name=name or method, method=method, options=resolved)


def test_training_flops_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 25, 7))
    assert training_flops(model, 2, (5, 5)) == 3 * 2 * 2 * (25 * 4 * 3 * 9 + 100 * 7)


def test_the_peak_is_the_best_of_the_products_by_hand() -> None:
    class Told(Clock):
        def median_ms(self, function: Any) -> float:
            return {512: 1.0, 1024: 2.0, 2048: 80.0}[len(function())]

    cpu = torch.device("cpu")
    assert matmul_peak(Told(cpu), cpu, torch.float32) == 2 * 1024**3 / 0.002


def test_gradients_of_inputs_alone_cost_less() -> None:
    layer, x = nn.Linear(8, 4), torch.randn(2, 8, requires_grad=True)
    with FlopCounter() as counter:
        torch.autograd.grad(layer(x).sum(), x)
    assert counter.flops == 2 * (2 * 2 * 8 * 4)  # forward, and one product backward


def test_attention_counts_its_products() -> None:
    query, key = torch.randn(2, 3, 4, 8, requires_grad=True), torch.randn(2, 3, 5, 8)
    with FlopCounter() as counter:
        found = nn.functional.scaled_dot_product_attention(query, key, key)
        one = 2 * (2 * 3 * 4 * 5 * 8)
        assert counter.flops == 2 * one
        found.sum().backward()
    assert counter.flops == 2 * one + 5 * one  # the backward pass repeats the first product


def test_figures_fit_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    settings = BenchSettings(
        device="cpu",
        model="resnet8",
        batch_size=4,
        image_size=8,
        prepared_size=8,
        classes=3,
        precision="fp32",
        mixes=tuple(recipe(name) for name in ("none", "cutmix", "saliencymixplus")),
        rounds=2,
        warmup=1,
        seconds=0.0,
        images=398,
        epochs=10,
        mix_prob=0.5,
    )
    result = bench(settings, say=str)
    plain, cutmix, ours = result["steps"]
    assert plain["ratio_to_plain"] == 1
    assert cutmix["flops"] == plain["flops"]
    assert 1.6 * plain["flops"] < ours["flops"] < 1.7 * plain["flops"]  # + forward + input-only
    for step in result["steps"]:
        assert step["images_per_second"] == pytest.approx(4000 / step["ms"])
        assert 0 < step["share_of_peak"] < 1.5
    assert plain["mean_ms"] == plain["ms"]
    assert cutmix["mean_ms"] == pytest.approx(plain["ms"] * (1 + cutmix["ratio_to_plain"]) / 2)
    assert cutmix["experiment_hours"] == pytest.approx(cutmix["mean_ms"] * 100 * 10 / 3.6e6)
    share = cutmix["mixing_ms"] / plain["ms"]
    assert cutmix["mixing_share_of_plain"] == pytest.approx(share)
    assert result["threads"] == 1  # the number of threads for such a small step
    json.dumps(result, allow_nan=False)
    assert [row[0] for row in table(result).rows] == ["No mixing", "CutMix", "SaliencyMix+"]


def test_a_captured_step_is_compared_with_captured_mixing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Launched one by one, the kernels of the mixing alone would take longer than the step."""

    class Capturer:
        captured = 0

        def rehearse(self, function: Callable[[], None]) -> None:
            function()

        def capture(self, function: Callable[[], None], generators: Any) -> Callable[[], None]:
            self.captured += 1
            return function

    fake = Capturer()
    monkeypatch.setattr(
        "saliencymixplus.bench.steps.create_engine",
        lambda step, choice, device, say: (GraphEngine(step, fake, say), "faked"),
    )
    (step,) = bench(replace(SMALL, mixes=(recipe("cutmix"),)), say=str)["steps"]
    assert step["engine"] == "faked"
    assert step["mixing_ms"] > 0
    assert fake.captured == 2  # the step, and the mixing


def test_an_experiments_own_augmentation_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    section = ExperimentSettings.model_validate(
        {
            "download": {"source": "oxford_pet"},
            "data": {"image_size": 24},
            "training": {"augment": "resized-crop-flip", "crop_size": 16},
        }
    )
    settings = settings_for(section)
    assert (settings.prepared_size, settings.image_size) == (24, 16)
    assert settings.training.augment == "resized-crop-flip"
    assert (settings.images, settings.classes) == (3_680, 37)
    seen: list[Any] = []
    draw = Augmentation.draw
    monkeypatch.setattr(
        Augmentation, "draw", lambda self, *given: (seen.append(self), draw(self, *given))[1]
    )
    sizes = {"prepared_size": 24, "image_size": 16, "training": settings.training}
    bench(replace(SMALL, **sizes, mixes=(recipe("none"),)), say=str)
    assert {(how.kind, how.size, how.output) for how in seen} == {
        ("resized-crop-flip", (24, 24), (16, 16))
    }


def test_slow_steps_are_measured_three_times_at_least() -> None:
    calls: list[int] = []
    clock = Clock(torch.device("cpu"), rounds=50, warmup=50, round_seconds=0.0, patience=0.0)
    assert clock.median_ms(lambda: calls.append(0)) > 0
    assert len(calls) == 1 + 1 + 3  # warm-up, how often a round repeats it, rounds


def test_a_fast_step_is_measured_as_often_as_asked() -> None:
    calls: list[int] = []
    clock = Clock(torch.device("cpu"), rounds=7, warmup=4, round_seconds=0.0, patience=1e9)
    clock.median_ms(lambda: calls.append(0))
    assert len(calls) == 4 + 1 + 7  # warm-up, how often a round repeats it, rounds


def test_patience_is_for_each_of_two_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    now, calls = 0.0, 0

    def second() -> None:
        nonlocal now, calls
        now, calls = now + 1.0, calls + 1

    monkeypatch.setattr("saliencymixplus.bench.clock.time.perf_counter", lambda: now)
    clock = Clock(torch.device("cpu"), rounds=50, warmup=0, round_seconds=0.0, patience=10.0)
    clock.compare(second, second)
    assert calls == 2 + 2 * 11  # how often a round repeats them, rounds of 2 s until 20 s are over


@pytest.mark.parametrize(("took", "repeats"), [(1.0, 1), (0.001, 50), (0.0001, 200)])
def test_a_round_is_long_enough_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, took: float, repeats: int
) -> None:
    now, calls = 0.0, 0

    def work() -> None:
        nonlocal now, calls
        now, calls = now + took, calls + 1

    monkeypatch.setattr("saliencymixplus.bench.clock.time.perf_counter", lambda: now)
    clock = Clock(torch.device("cpu"), rounds=3, warmup=0, round_seconds=0.05, patience=1e9)
    assert clock.median_ms(work) == pytest.approx(1000 * took)
    assert calls == 1 + 3 * repeats


@pytest.mark.slow
def test_all_methods_are_compiled_in_one_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler recompiles a function only a few times, and each method needs a version."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    said: list[str] = []
    mixes = tuple(recipe(name) for name in METHODS)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        result = bench(replace(SMALL, compile=True, mixes=mixes), say=said.append)
    measured = [name for name in METHODS if name != "transmix"]  # it needs a transformer
    assert [step["method"] for step in result["steps"]] == measured
    assert any(line.startswith("transmix is left out: ") for line in said)
    assert sum("compiled in" in line for line in said) == len(measured)
    assert all(step["flops"] > 0 for step in result["steps"])


def test_a_ratio_is_taken_between_rounds_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that slows down steadily, twice the work still takes twice the time."""
    now = 0.0
    work = {"plain": 1.0, "mixed": 2.0}

    def call(name: str) -> None:
        nonlocal now
        now += work[name] * (1.0 + now / 100)

    monkeypatch.setattr("saliencymixplus.bench.clock.time.perf_counter", lambda: now)
    clock = Clock(torch.device("cpu"), rounds=9, warmup=1, round_seconds=0.0, patience=1e9)
    found = clock.compare(lambda: call("mixed"), lambda: call("plain"))
    assert found.ratio == pytest.approx(2.0, rel=0.05)
    assert found.ms > 2000
    assert found.reference_ms == pytest.approx(found.ms / 2, rel=0.1)
    assert clock.compare(lambda: call("mixed")).ratio == 1.0


def test_a_cheaper_saliency_pass_is_measured_as_such() -> None:
    """Recipes keep their options, and half of the steps without a pass take half of its work."""
    cheap = {"every": {"saliency_every": 2}, "share": {"saliency_fraction": 0.5}}
    mixes = [recipe("none"), recipe("saliencymixplus")]
    mixes += [recipe("saliencymixplus", name, **options) for name, options in cheap.items()]
    result = bench(replace(SMALL, mixes=tuple(mixes)), say=str)
    plain, full, every, share = result["steps"]
    assert [every["method"], share["method"]] == ["every", "share"]
    assert plain["ms"] == median(step["plain_ms"] for step in result["steps"])
    half = plain["flops"] + (full["flops"] - plain["flops"]) / 2
    assert every["flops"] == pytest.approx(half)
    assert share["flops"] == pytest.approx(half)


def test_time_is_the_mean_over_steps_with_and_without_a_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Told(Clock):
        timings = iter((Timing(10.0, 5.0, 2.0), Timing(6.0, 5.0, 1.2), Timing(0.5, 0.5, 1.0)))

        def compare(self, function: Any, reference: Any = None) -> Timing:
            function()
            return next(self.timings)

    use_saliency: list[bool] = []
    usual = EagerEngine.run

    def run(self: EagerEngine, inputs: Any, kind: Kind, **how: Any) -> None:
        use_saliency.append(kind.use_saliency)
        usual(self, inputs, kind, **how)

    monkeypatch.setattr(EagerEngine, "run", run)
    cpu, every = torch.device("cpu"), recipe("saliencymixplus", saliency_every=4)
    found, _ = measure_steps(SMALL, every, Told(cpu), cpu, torch.float32, str, lambda: None)
    assert use_saliency == [True, False, True, False]  # the first steps, then those measured
    assert found["ms"] == pytest.approx(10 / 4 + 6 * 3 / 4)
    assert found["ratio_to_plain"] == pytest.approx(2 / 4 + 1.2 * 3 / 4)
    assert (found["plain_ms"], found["mixing_ms"]) == (5.0, 0.5)


def test_the_cost_of_a_switch_is_the_mean_over_its_members() -> None:
    members = {"cutmix": 0.75, "saliencymixplus": 0.25}
    mixes = (recipe("none"), recipe("saliencymixplus"), recipe("switch", "both", members=members))
    plain, full, both = bench(replace(SMALL, mixes=mixes), say=str)["steps"]
    assert both["method"] == "both"
    assert both["flops"] == pytest.approx(0.75 * plain["flops"] + 0.25 * full["flops"])
    assert both["mixing_ms"] > 0
