"""Whole trainings on tiny data: what they write, that they repeat, how they end."""

import copy
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from training_helpers import Recorder, same_weights, timeless

from saliencymixplus.data.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.mixing import Step, create
from saliencymixplus.settings import RunSettings, RuntimeSettings, TrainingSettings
from saliencymixplus.training.assembly import assemble, initial_model
from saliencymixplus.training.history import COLUMNS, read_history
from saliencymixplus.training.optimiser import create_optimiser, momentum_of, set_rate
from saliencymixplus.training.randomness import guided_of_epoch
from saliencymixplus.training.runs import load_run
from saliencymixplus.training.step import TrainStep
from saliencymixplus.training.totals import EpochTotals, Totals
from saliencymixplus.training.trainer import train

Make = Callable[..., RunSettings]


def test_a_run_leaves_all_that_is_promised(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    make: Make,
    runtime: RuntimeSettings,
    recorder: Recorder,
) -> None:
    settings = make(sample_epochs=(0, 3))
    output = tmp_path / "run"
    summary = train(settings, tiny, output, runtime)
    header = (output / "history.csv").read_text().splitlines()[0]
    assert header.split(",") == list(COLUMNS)
    assert summary == json.loads((output / "summary.json").read_text())
    assert {"last", "best_validation", "best_test", "seconds", "parameters"} <= summary.keys()
    assert [p.name for p in sorted((output / "samples").iterdir())] == [
        "epoch_0000.png",
        "epoch_0003.png",
    ]
    assert recorder.epochs == [1, 2, 3]
    assert recorder.images == [0, 3]
    assert recorder.status == "FINISHED"
    assert not list((state / "runs").iterdir()), "the resume state is gone"

    run = load_run(output)
    assert run.settings == settings
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert run.weights == ["last", "best_validation", "best_test"]
    best = min(run.history, key=lambda row: row["test_top1_error"] or 0.0)
    assert summary["best_test"]["epoch"] == best["epoch"]
    assert summary["last"]["top1_error"] == run.history[-1]["test_top1_error"]

    # The weights give the errors that the history says.
    data = load_prepared(tiny)
    split = data.split("test")
    pixels = torch.from_numpy(split.images.copy()).permute(0, 3, 1, 2) / 255
    images = (pixels - torch.tensor(data.meta.mean)[:, None, None]) / torch.tensor(data.meta.std)[
        :, None, None
    ]
    for which in run.weights:
        predicted = run.model(which)(images).argmax(1).numpy()
        assert 100 * (predicted != split.labels).mean() == pytest.approx(
            summary[which]["top1_error"], abs=1e-4
        )
        about = json.loads((output / "weights" / f"{which}.json").read_text())
        assert about["epoch"] == summary[which]["epoch"]
        assert about["classes"] == data.meta.classes


def test_weights_of_the_epochs_asked_for_are_those_of_a_shorter_run(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings
) -> None:
    steady: dict[str, Any] = {"schedule": "steps", "milestones": (99,)}
    train(make(epochs=3, weights_epochs=(1, 2, 9), **steady), tiny, tmp_path / "long", runtime)
    train(make(epochs=2, **steady), tiny, tmp_path / "short", runtime)
    run = load_run(tmp_path / "long")
    assert run.weights == ["last", "best_validation", "best_test", "epoch_0001", "epoch_0002"]
    kept, short = run.model("epoch_0002"), load_run(tmp_path / "short").model("last")
    expected = short.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in kept.state_dict().items())
    about = json.loads((tmp_path / "long" / "weights" / "epoch_0002.json").read_text())
    assert about["epoch"] == 2


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_drawing_grids_leaves_the_training_as_it_is(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings, variant: str
) -> None:
    mix = {"variant": variant}
    train(make("saliencymixplus", options=mix, epochs=2), tiny, tmp_path / "none", runtime)
    drawn = make("saliencymixplus", options=mix, epochs=2, sample_epochs=(0, 1, 2))
    train(drawn, tiny, tmp_path / "drawn", runtime)
    assert len(list((tmp_path / "drawn" / "samples").iterdir())) == 3
    assert same_weights(tmp_path / "none", tmp_path / "drawn")


@pytest.mark.parametrize("method", ["none", "cutmix", "saliencymix", "saliencymixplus"])
def test_a_repeated_run_is_bit_identical(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings, method: str
) -> None:
    settings = make(method, epochs=2, augment="resized-crop-flip")
    first, second = tmp_path / "first", tmp_path / "second"
    train(settings, tiny, first, runtime)
    torch.rand(100)  # the state of torch's own generator does not matter
    train(settings, tiny, second, runtime.model_copy(update={"workers": 0, "data_on": "host"}))
    assert same_weights(first, second)
    assert timeless(first) == timeless(second)
    other = tmp_path / "other"
    train(make(method, epochs=2, augment="resized-crop-flip", seed=1), tiny, other, runtime)
    assert not same_weights(first, other)


def test_initial_weights_depend_on_the_seed_only(tiny: Path, make: Make) -> None:
    meta = load_prepared(tiny).meta
    before = torch.random.get_rng_state()
    models = [initial_model(make(m, seed=s), meta, (8, 8)) for m, s in (("none", 0), ("cutmix", 0))]
    other = initial_model(make("none", seed=1), meta, (8, 8))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (*models, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_without_mixing_there_are_no_mixed_figures(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings
) -> None:
    train(make("none", epochs=1), tiny, tmp_path / "plain", runtime)
    train(make("cutmix", epochs=1, mix_prob=1.0), tiny, tmp_path / "mixed", runtime)
    (plain,) = read_history(tmp_path / "plain" / "history.csv")
    (mixed,) = read_history(tmp_path / "mixed" / "history.csv")
    assert plain["train_mixed_top1_error"] is None
    assert plain["mean_lam"] is None
    assert plain["forward_backward_passes"] == 4
    assert mixed["train_clean_top1_error"] is None
    assert 0 < (mixed["mean_lam"] or 0) < 1


def test_a_saliency_pass_every_few_mixed_steps(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings
) -> None:
    """Every third of an epoch's mixed steps takes one, the first to begin with."""
    assert guided_of_epoch([True, False, True, True, False, True], 3) == [
        True, False, False, False, True, True,
    ]  # fmt: skip
    settings = make("saliencymixplus", options={"saliency_every": 3}, epochs=1, mix_prob=1.0)
    train(settings, tiny, tmp_path / "run", runtime)
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert row["forward_backward_passes"] == 4 + 2  # of four steps the first and the fourth
    train(make("saliencymixplus", epochs=1, mix_prob=1.0), tiny, tmp_path / "each", runtime)
    (each,) = read_history(tmp_path / "each" / "history.csv")
    assert each["forward_backward_passes"] == 8


def test_train_error_weighs_both_labels_by_lambda(tiny: Path, make: Make) -> None:
    from saliencymixplus import mixing

    mixer = mixing.create("mixup")
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(0))
    logits = torch.eye(3)[labels]  # always right about the first source
    totals = Totals(torch.device("cpu"))
    totals.add(mixing.Step(torch.tensor(2.0), logits, mixed), labels)
    totals.add(mixing.Step(torch.tensor(1.0), logits[[1, 1, 2, 0]], None), labels)
    read = Totals.read(totals.values)
    same = mixed.labels_a == mixed.labels_b
    expected = torch.where(same, 1.0, mixed.lam).mean().item()
    assert read.mixed_top1_error == pytest.approx(100 * (1 - expected))
    assert read.clean_top1_error == 25.0
    assert read.loss == 1.5
    assert read.mean_lam == pytest.approx(mixed.lam.mean().item())


def test_totals_go_on_with_an_epoch_and_name_its_first_bad_step() -> None:
    totals = Totals(torch.device("cpu"))
    assert Totals.read(totals.values) == EpochTotals(0.0, None, None, None, 0)
    logits, labels = torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])
    for loss in (1.0, float("inf"), float("nan")):
        totals.add(Step(torch.tensor(loss), logits, None), labels)
    assert totals.bad_step == 1
    totals.reset()
    assert totals.bad_step == -1
    for _ in range(2):
        totals.add(Step(torch.tensor(float("nan")), logits, None), labels)
    assert totals.bad_step == 0
    totals.reset()
    totals.add(Step(torch.tensor(2.0), logits, None), labels)
    kept = totals.values.clone()
    totals.reset(kept)
    totals.add(Step(torch.tensor(4.0), logits[:2], None), labels[:2])
    read = Totals.read(totals.values)
    assert read.images == 6
    assert read.loss == pytest.approx((4 * 2.0 + 2 * 4.0) / 6)
    assert read.clean_top1_error == pytest.approx(100 / 6)
    totals.add(Step(torch.tensor(float("inf")), logits, None), labels)
    assert totals.bad_step == 2


def test_soft_labels_are_counted_as_the_hard_ones_they_stand_for() -> None:
    images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    logits, errors = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), []
    for given in (labels, torch.eye(3)[labels]):
        mixed = create("mixup")(images, given, generator=torch.Generator().manual_seed(0))
        totals = Totals(torch.device("cpu"))
        totals.add(Step(torch.tensor(1.0), logits, mixed), given)
        errors.append(Totals.read(totals.values).mixed_top1_error)
    assert errors[0] == pytest.approx(errors[1])
    assert 0 < errors[0] < 100


def test_both_passes_of_a_step_are_under_autocast(tiny: Path, make: Make) -> None:
    cpu, run = torch.device("cpu"), make("saliencymixplus")
    step = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str).step
    seen: list[bool] = []
    for network in (step.local, step.twin):
        network.register_forward_pre_hook(
            lambda module, given: seen.append(torch.is_autocast_enabled("cpu"))
        )
    (inputs,) = step.source.inputs([torch.arange(16)])
    for context, within in ((nullcontext, False), (partial(torch.autocast, "cpu"), True)):
        seen.clear()
        replace(step, autocast=context)(inputs, True)
        assert seen == [within, within]


@pytest.mark.parametrize("guided", [True, False])
def test_a_step_takes_its_saliency_pass_only_if_told_to(
    tiny: Path, make: Make, guided: bool
) -> None:
    cpu = torch.device("cpu")
    run = make("saliencymixplus")
    parts = assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), cpu, say=str)
    passes: list[bool] = []
    parts.step.twin.register_forward_pre_hook(lambda module, given: passes.append(True))
    (inputs,) = parts.sources["train"].inputs([torch.arange(16)])
    parts.engine.run(inputs, True, guided=guided, epoch=1, index=0)
    assert len(passes) == guided


@pytest.mark.parametrize(
    "recipe",
    [
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "nesterov": False},
        {"momentum": 0.0, "nesterov": False},
    ],
    ids=str,
)
def test_the_optimiser_steps_as_torchs_own_does(recipe: dict[str, Any]) -> None:
    settings = TrainingSettings(learning_rate=0.3, weight_decay=0.05, **recipe)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    model[1].bias.requires_grad_(False)
    other = copy.deepcopy(model)
    trained = [p for p in other.parameters() if p.requires_grad]
    theirs = torch.optim.SGD(trained, lr=0.3, weight_decay=0.05, **recipe)
    ours = create_optimiser(model, settings)
    for rate in (0.3, 0.3, 0.1):
        set_rate(ours, rate)
        theirs.param_groups[0]["lr"] = rate
        for network, optimiser in ((model, ours), (other, theirs)):
            optimiser.zero_grad()
            network(torch.ones(2, 3)).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(model.state_dict(), other.state_dict())
    momentum = {"0.weight", "0.bias", "1.weight"} if recipe["momentum"] else set()
    assert momentum_of(model, ours).keys() == momentum


def test_weight_average_is_what_its_formula_says(tiny: Path, make: Make) -> None:
    run = make("none", weight_average=0.15)
    parts = assemble(
        run, load_prepared(tiny), RuntimeSettings(device="cpu"), torch.device("cpu"), say=str
    )
    average = parts.step.average
    assert average is not None
    expected = {k: v.clone() for k, v in parts.step.local.state_dict().items()}
    for index, inputs in enumerate(parts.sources["train"].inputs(torch.arange(48).split(16))):
        average.set_step(index)
        parts.engine.run(inputs, False, epoch=1, index=index)
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


def test_a_loss_that_is_not_finite_ends_the_run(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    make: Make,
    runtime: RuntimeSettings,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = TrainStep.__call__

    def break_weights(self: TrainStep, inputs: Any, mix: bool, **rest: Any) -> None:
        if self.streams.augment.initial_seed() == broken:
            next(self.local.parameters()).data.fill_(float("nan"))
        usual(self, inputs, mix, **rest)

    from saliencymixplus.training.randomness import seed_of

    broken = seed_of(0, "augment", 2, 1)  # epoch 2, the second step
    monkeypatch.setattr(TrainStep, "__call__", break_weights)
    with pytest.raises(UserError, match=r"epoch 2, step 2 of 4 \(learning rate 0\.1\).*epoch 1 is"):
        train(make("cutmix"), tiny, tmp_path / "run", runtime)
    assert recorder.status == "FAILED"
    assert recorder.epochs == [1]
    assert not (tmp_path / "run").exists()
    (folder,) = (state / "runs").iterdir()
    assert len(list(folder.glob("epoch00001-*.pt"))) == 1


def test_an_exploding_loss_is_caught(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings
) -> None:
    with pytest.raises(
        UserError, match=r"not finite in epoch 1, step \d of 4 \(learning rate 1e\+25"
    ):
        train(make("none", learning_rate=1e25), tiny, tmp_path / "run", runtime)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["torch", "driver", "library", "cpu", "python"],
)
def test_out_of_memory_says_which_batch_size_to_try(
    error: Exception,
    tiny: Path,
    tmp_path: Path,
    make: Make,
    runtime: RuntimeSettings,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: TrainStep, inputs: Any, mix: bool, **how: Any) -> None:
        raise error

    monkeypatch.setattr(TrainStep, "__call__", full)
    for size, advice in (
        (16, "training.batch_size 8"),
        (18, "training.batch_size 16"),
        (2, "a smaller network or smaller images"),
    ):
        with pytest.raises(UserError, match=rf"batch size {size}: try {advice}$"):
            train(make(batch_size=size), tiny, tmp_path / "run", runtime)
        assert recorder.status == "FAILED"


def test_another_error_is_not_taken_for_too_little_memory(
    tiny: Path,
    tmp_path: Path,
    make: Make,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: TrainStep, inputs: Any, mix: bool, **how: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(TrainStep, "__call__", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(make(), tiny, tmp_path / "run", runtime)


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"batch_size": 51}, "batch_size 51 is larger than the 50 training images"),
        ({"batch_size": 1}, "at least 2"),
        ({"crop_size": 11}, "crop_size 11 is larger than the 8×8 images"),
    ],
)
def test_settings_that_do_not_fit_the_data(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings, training: Any, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        train(make(**training), tiny, tmp_path / "run", runtime)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xla"])
def test_a_device_that_is_not_there(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings, name: str
) -> None:
    with pytest.raises(UserError, match="device"):
        train(make(), tiny, tmp_path / "run", runtime.model_copy(update={"device": name}))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run"):
        load_run(tmp_path)


def test_damaged_weights_are_named(
    tiny: Path, tmp_path: Path, make: Make, runtime: RuntimeSettings
) -> None:
    train(make("none", epochs=1), tiny, tmp_path / "run", runtime)
    run = load_run(tmp_path / "run")
    with pytest.raises(UserError, match="did you mean 'best_test'"):
        run.model("best_tst")
    path = tmp_path / "run" / "weights" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"last\.safetensors is damaged"):
        run.model()
