"""One training step: passes, optimizer, EMA and metrics."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.context import TrainingContext, TrainingState
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.engine.epoch_metrics import EpochAverages, EpochMetrics
from saliencymixplus.engine.step import PLAIN, Kind
from saliencymixplus.engine.train import train_one_epoch
from saliencymixplus.mixing import Step, create
from saliencymixplus.settings import RuntimeSettings
from tests.helpers import run_settings


def test_train_error_weighs_both_labels_by_lambda() -> None:
    mixer = create("mixup")
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(0))
    logits = torch.eye(3)[labels]  # always right about the first source
    metrics = EpochMetrics(torch.device("cpu"))
    metrics.add(Step(torch.tensor(2.0), logits, mixed), labels)
    metrics.add(Step(torch.tensor(1.0), logits[[1, 1, 2, 0]], None), labels)
    read = EpochMetrics.averages(metrics.sums)
    same = mixed.labels_a == mixed.labels_b
    expected = torch.where(same, 1.0, mixed.lam).mean().item()
    assert read.mixed_top1_error == pytest.approx(100 * (1 - expected))
    assert read.clean_top1_error == 25.0
    assert read.loss == 1.5
    assert read.mean_lam == pytest.approx(mixed.lam.mean().item())


@pytest.mark.parametrize("soft", [False, True])
def test_train_error_weighs_the_labels_of_many_images(soft: bool) -> None:
    mixer, labels = create("comixup"), torch.tensor([0, 1, 2, 0])
    given = torch.eye(3)[labels] if soft else labels
    mixed = mixer(torch.rand(4, 3, 8, 8), given, saliency=torch.rand(4, 8, 8) ** 9)
    metrics = EpochMetrics(torch.device("cpu"))
    logits = torch.eye(3)[[2, 0, 0, 1]]
    metrics.add(Step(torch.tensor(2.0), logits, mixed), given)
    right = mixed.soft_labels(3).gather(1, logits.argmax(1, keepdim=True)).mean().item()
    error = EpochMetrics.averages(metrics.sums).mixed_top1_error
    assert error == pytest.approx(100 * (1 - right), abs=1e-4)


def test_train_error_is_a_fraction_of_weights_that_do_not_sum_to_one() -> None:
    """SnapMix weighs both labels by what shows of them: here by 2 and 1, or by 0.3 and 0.1."""
    mixed = create("mixup")(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    mixed = replace(mixed, lam=torch.tensor([2.0, 0.3]), lam_b=torch.tensor([1.0, 0.1]))
    metrics = EpochMetrics(torch.device("cpu"))
    metrics.add(Step(torch.tensor(1.0), torch.eye(2), mixed), torch.tensor([0, 1]))
    error = EpochMetrics.averages(metrics.sums).mixed_top1_error
    assert error == pytest.approx(100 * (1 / 3 + 1 / 4) / 2)


def test_images_per_second_counts_all_images_of_a_batch_that_mixes_into_half(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingState, "elapsed", 2.0)
    cpu, data = torch.device("cpu"), load_prepared(tiny)
    run = run_settings("cutmix", mix_prob=1.0, options={"pairs": "half"})
    parts = assemble(run, data, RuntimeSettings(device="cpu"), cpu, say=str)
    context = TrainingContext(run, data.meta, "", cpu, Processes(), parts)
    assert train_one_epoch(context).images_per_second == data.meta.counts["train"] / 2


def test_totals_go_on_with_an_epoch_and_name_its_first_bad_step() -> None:
    metrics = EpochMetrics(torch.device("cpu"))
    assert EpochMetrics.averages(metrics.sums) == EpochAverages(0.0, None, None, None)
    logits, labels = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])
    for loss in (1.0, float("inf"), float("nan")):
        metrics.add(Step(torch.tensor(loss), logits, None), labels)
    assert metrics.bad_batch == 1
    metrics.reset()
    assert metrics.bad_batch == -1
    for _ in range(2):
        metrics.add(Step(torch.tensor(float("nan")), logits, None), labels)
    assert metrics.bad_batch == 0
    metrics.reset()
    metrics.add(Step(torch.tensor(2.0), logits, None), labels)
    kept = metrics.sums.clone()
    metrics.reset(kept)
    metrics.add(Step(torch.tensor(4.0), logits[:2], None), labels[:2])
    read = EpochMetrics.averages(metrics.sums)
    assert read.loss == pytest.approx((4 * 2.0 + 2 * 4.0) / 6)
    assert read.clean_top1_error == pytest.approx(100 / 6)
    metrics.add(Step(torch.tensor(float("inf")), logits, None), labels)
    assert metrics.bad_batch == 2


def test_soft_labels_are_counted_as_the_hard_ones_they_stand_for() -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    logits, errors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), []
    for given in (labels, torch.eye(3)[labels]):
        mixed = create("mixup")(images, given, generator=torch.Generator().manual_seed(0))
        metrics = EpochMetrics(torch.device("cpu"))
        metrics.add(Step(torch.tensor(1.0), logits, mixed), given)
        errors.append(EpochMetrics.averages(metrics.sums).mixed_top1_error)
    assert errors[0] == pytest.approx(errors[1])
    assert 0 < errors[0] < 100


def test_both_passes_of_a_step_are_under_autocast(tiny: Path) -> None:
    cpu, run = torch.device("cpu"), run_settings("saliencymixplus")
    step = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str).step
    seen: list[bool] = []
    for network in (step.local, step.saliency_model):
        network.register_forward_pre_hook(
            lambda module, given: seen.append(torch.is_autocast_enabled("cpu"))
        )
    (inputs,) = step.source.inputs([torch.arange(16)])
    for context, within in ((nullcontext, False), (partial(torch.autocast, "cpu"), True)):
        seen.clear()
        replace(step, autocast=context)(inputs, Kind(mix=True))
        assert seen == [within, within]


@pytest.mark.parametrize("use_saliency", [True, False])
def test_a_step_takes_its_saliency_pass_only_if_told_to(tiny: Path, use_saliency: bool) -> None:
    cpu = torch.device("cpu")
    run = run_settings("saliencymixplus")
    parts = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str)
    passes: list[bool] = []
    parts.step.saliency_model.register_forward_pre_hook(lambda module, given: passes.append(True))
    (inputs,) = parts.sources["train"].inputs([torch.arange(16)])
    parts.engine.run(inputs, Kind(True, use_saliency=use_saliency), epoch=1, index=0)
    assert len(passes) == use_saliency


def test_weight_average_is_what_its_formula_says(tiny: Path) -> None:
    run = run_settings("none", weight_average=0.15)
    parts = assemble(
        run, load_prepared(tiny), RuntimeSettings(device="cpu"), torch.device("cpu"), say=str
    )
    average = parts.step.ema
    assert average is not None
    expected = {k: v.clone() for k, v in parts.step.local.state_dict().items()}
    for index, inputs in enumerate(parts.sources["train"].inputs(torch.arange(48).split(16))):
        average.set_step(index)
        parts.engine.run(inputs, PLAIN, epoch=1, index=index)
        decay = min(0.15, (1 + index) / (10 + index))
        for key, value in parts.step.local.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value
    for key, value in average.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, expected[key], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, parts.step.local.state_dict()[key])
    assert parts.evaluated is average.model
    assert not any(module.training for module in average.model.modules())
    assert not any(p.requires_grad for p in average.model.parameters())
