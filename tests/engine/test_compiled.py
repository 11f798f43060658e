"""The compiled step, network and all other operations, gives the plain step's results."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus import mixing
from saliencymixplus.engine.step import Kind
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.engine.captured import parts_for, with_its_network
from tests.helpers import run_settings, timeless


def counting(counts: list[int]) -> Any:
    """A compiler backend that changes nothing and counts its graphs."""

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        counts.append(len(graph.graph.nodes))
        return graph.forward

    return backend


@pytest.mark.parametrize(
    ("method", "augment"),
    [
        *((name, "crop-flip") for name in mixing.METHODS),
        ("none", "resized-crop-flip"),
    ],
)
def test_a_compiled_step_gives_the_plain_results(
    tiny_with_masks: Path, monkeypatch: pytest.MonkeyPatch, method: str, augment: str
) -> None:
    torch._dynamo.reset()
    with_its_network(method, monkeypatch)
    plain, fast = (
        parts_for(tiny_with_masks, method, augment=augment, weight_average=0.9) for _ in "ab"
    )
    counts: list[int] = []
    fast.step.compiled = fast.step.plain.compiled(backend=counting(counts))
    rows = torch.arange(40).split(8)
    for index, inputs in enumerate(plain.sources["train"].inputs(rows)):
        for parts in (plain, fast):
            parts.engine.run(inputs, Kind(index != 1 and method != "none"), epoch=1, index=index)
    # The network, the batch, the count; with mixing its arithmetic and its loss; the saliency pass,
    # or that of a trained part.
    mixer = plain.step.mixer
    kinds = 3 if method == "none" else 6
    kinds += "gradient_saliency" in mixer.needs or mixer.trains_part
    assert len(counts) == kinds, "compiled anew, or not in one piece"
    for ours, theirs in zip(fast.step.state(), plain.step.state(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_policy_and_erasing_are_compiled_with_the_batch(tiny_with_masks: Path) -> None:
    torch._dynamo.reset()
    how = {"crop_mode": "reflect", "auto_augment": "randaugment", "random_erasing": 0.5}
    plain, fast = (parts_for(tiny_with_masks, "saliencymix", **how) for _ in "ab")
    counts: list[int] = []
    fast.step.compiled = fast.step.plain.compiled(backend=counting(counts))
    for index, inputs in enumerate(plain.sources["train"].inputs(torch.arange(24).split(8))):
        for parts in (plain, fast):
            parts.engine.run(inputs, Kind(index != 1), epoch=1, index=index)
    assert len(counts) == 6, "compiled anew, or not in one piece"
    for ours, theirs in zip(fast.step.state(), plain.step.state(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_smaller_batch_is_not_compiled_anew(tiny: Path) -> None:
    torch._dynamo.reset()
    parts = parts_for(tiny, "cutmix")
    counts: list[int] = []
    step = replace(parts.step, compiled=parts.step.plain.compiled(backend=counting(counts)))
    source = parts.sources["train"]
    for size in (8, 5, 8):
        (inputs,) = source.inputs([torch.arange(size)])
        assert step.compiles(inputs) == (size == 8)
        step(inputs, Kind(mix=True))
        assert len(counts) == 5


def test_trainings_in_one_process_may_compile_as_often_as_they_need(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default torch compiles a function eight times, then runs it uncompiled."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    members = dict.fromkeys(("cutmix", "fmix", "gridmix", "mixup", "resizemix", "smoothmix"), 1 / 6)
    how = runtime.model_copy(update={"compile": True})
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for batch_size in (4, 5):
            run = run_settings(
                "switch",
                options={"members": members},
                mix_prob=1.0,
                epochs=2,
                batch_size=batch_size,
            )
            train(run, tiny, tmp_path / str(batch_size), how)


@pytest.mark.slow
def test_a_training_by_inductor(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    run = run_settings("saliencymixplus", mix_prob=0.7, precision="fp32", epochs=2)
    for compile_ in (False, True):
        how = runtime.model_copy(update={"compile": compile_})
        train(run, tiny, tmp_path / str(compile_), how)
    plain, fast = (timeless(tmp_path / name) for name in ("False", "True"))
    for first, second in zip(plain, fast, strict=True):
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-2)
        assert first["mean_lam"] == pytest.approx(second["mean_lam"], rel=1e-2)
