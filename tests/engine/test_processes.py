"""Two CPU processes against one: same curve and weights, and only one of them writes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine import build as assembly
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.engine.optimizer import set_lr, state_tensors
from saliencymixplus.engine.randomness import batches_of_epoch, members_of_epoch, mix_flags_of_epoch
from saliencymixplus.engine.schedule import lr_at
from saliencymixplus.engine.step import PLAIN, Kind
from saliencymixplus.errors import UserError
from saliencymixplus.loading.augment import Draws
from saliencymixplus.settings import RunSettings, RuntimeSettings
from tests import forked
from tests.helpers import REPOSITORY, run_settings, timeless
from tests.tracking.servers import free_port
from tests.train_apart import without_batch_norm

SCRIPT = str(REPOSITORY / "tests" / "train_apart.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def alone(tiny: Path, output: Path, run: RunSettings, **options: Any) -> str:
    """Train in one process; returns what it said."""
    given = forked.arguments(tiny, output, run, **{"batch_norm": False, **options})
    return forked.run(output.with_name("log"), given, code=None if "stop" in options else 0)


def two(tiny: Path, output: Path, run: RunSettings, **options: Any) -> str:
    """Train in two processes with the environment that torchrun gives them."""
    given = forked.arguments(tiny, output, run, **{"batch_norm": False, **options})
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    logs = [output.with_name(f"log{rank}") for rank in range(2)]
    both = [
        forked.start(log, given, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
        for rank, log in enumerate(logs)
    ]
    codes = {forked.end_of(process) for process in both}
    said = "".join(log.read_text() for log in logs)
    assert None not in codes, said
    assert "stop" in options or codes == {0}, said[-2000:]
    return said


def by_torchrun(tiny: Path, output: Path, run: RunSettings) -> str:
    command = [*TORCHRUN, SCRIPT, *forked.arguments(tiny, output, run, batch_norm=False)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def close(first: Path, second: Path) -> None:
    """The same curves and weights but for the order of additions."""
    for a, b in zip(timeless(first), timeless(second), strict=True):
        for key, value in a.items():
            assert value == (b[key] if value is None else pytest.approx(b[key], rel=1e-4, abs=1e-5))
    weights = [load_file(path / "weights" / "last.safetensors") for path in (first, second)]
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_give_the_curve_of_one(tiny: Path, tmp_path: Path, accumulate: int) -> None:
    run = run_settings("none", batch_size=14, precision="fp32", accumulate=accumulate)
    alone(tiny, tmp_path / "one", run)
    said = (by_torchrun if accumulate == 1 else two)(tiny, tmp_path / "two", run)
    assert said.count("epoch 3/3") == 1, "one process talks"
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_one_process_stops_and_two_go_on(tiny: Path, tmp_path: Path) -> None:
    run = run_settings("none", seed=1, batch_size=14, precision="fp32")
    alone(tiny, tmp_path / "one", run)
    alone(tiny, tmp_path / "two", run, stop=[2, 1])
    assert not (tmp_path / "two").exists()
    said = two(tiny, tmp_path / "two", run, data_on="shard")
    assert "resumed after epoch 1 of 3 and 2 steps of the next" in said
    assert "one part of 2 on cpu" in said
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_two_processes_that_are_stopped_end_with_the_same_weights(
    tiny: Path, tmp_path: Path
) -> None:
    """Saliency by the moving average sees batch-norm statistics, which a checkpoint has only of
    the first process."""
    options = {"saliency_weights": "average"}
    run = run_settings(options=options, epochs=2, mix_prob=1.0, weight_average=0.5)
    two(tiny, tmp_path / "whole", run, batch_norm=True)
    two(tiny, tmp_path / "stopped", run, batch_norm=True, stop=[2, 0])
    said = two(tiny, tmp_path / "stopped", run, batch_norm=True)
    assert "resumed after epoch 1 of 2" in said
    folders = (tmp_path / "whole", tmp_path / "stopped")
    weights = [load_file(folder / "weights" / "last.safetensors") for folder in folders]
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key
    assert timeless(folders[0]) == timeless(folders[1])


class Unwrapped(Processes):
    """One of two processes that do not communicate."""

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        return model


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cutmix", "saliencymixplus", "switch"])
def test_mixed_steps_are_the_average_of_the_processes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Partners come from the process's own part of the batch, and the gradients are averaged.

    A step of SGD is affine in the gradient: two processes that step apart from the same state and
    then average weights and momentum are where one step with the averaged gradient leads.
    """
    options = {"members": {"cutmix": 0.5, "mixup": 0.5}} if method == "switch" else {}
    run = run_settings(method, mix_prob=0.7, precision="fp32", options=options)
    two(tiny, tmp_path / "two", run)
    monkeypatch.setattr(assembly, "create_model", without_batch_norm)
    groups = [Unwrapped(rank, 2) for rank in (0, 1)]
    data, cpu = load_prepared(tiny), torch.device("cpu")
    both = [
        assembly.assemble(run, data, RuntimeSettings(device="cpu"), cpu, group, say=str)
        for group in groups
    ]
    for epoch in range(1, run.training.epochs + 1):
        batches = batches_of_epoch(50, 16, run.seed, epoch, processes=2)
        mix_flags = mix_flags_of_epoch(len(batches), 0.7, run.seed, epoch)
        chances = both[0].step.mixer.probabilities
        members = members_of_epoch(len(batches), chances, run.seed, epoch)
        for index, batch in enumerate(batches):
            for group, parts in zip(groups, both, strict=True):
                number = (epoch - 1) * len(batches) + index
                set_lr(parts.step.optimizer, lr_at(run.training, number, len(batches)))
                (inputs,) = parts.step.source.inputs([group.part(batch)])
                kind = Kind(mix_flags[index], members[index])
                parts.engine.run(inputs, kind, epoch=epoch, index=index)
            states = [[*p.step.local.parameters(), *state_tensors(p.step.optimizer)] for p in both]
            with torch.no_grad():
                for a, b in zip(*states, strict=True):
                    a.copy_((a + b) / 2)
                    b.copy_(a)
    found = load_file(tmp_path / "two" / "weights" / "last.safetensors")
    for key, value in both[0].step.local.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


def test_each_process_crops_its_part_as_one_process_would(tiny: Path) -> None:
    run = run_settings("none", auto_augment="trivialaugment", random_erasing=0.5)
    data, cpu = load_prepared(tiny), torch.device("cpu")

    def crops(group: Processes) -> Draws:
        parts = assembly.assemble(run, data, RuntimeSettings(device="cpu"), cpu, group, say=str)
        plain, seen = parts.step.plain, []
        parts.step.plain = replace(
            plain, assemble=lambda rows, draws: (seen.append(draws), plain.assemble(rows, draws))[1]
        )
        (inputs,) = parts.step.source.inputs([group.part(torch.arange(16))])
        parts.engine.run(inputs, PLAIN, epoch=1, index=0)
        return seen[0]

    alone, *both = (crops(Unwrapped(*place)) for place in ((0, 1), (0, 2), (1, 2)))
    for name in ("top", "left", "flip"):
        values = torch.cat([getattr(draws.boxes, name) for draws in both])
        assert torch.equal(values, getattr(alone.boxes, name))
        assert len(values.unique()) > 1
    assert torch.equal(torch.cat([draws.ops.op for draws in both]), alone.ops.op)
    assert torch.equal(torch.cat([draws.erased.noise for draws in both]), alone.erased.noise)


def test_a_batch_that_does_not_divide_is_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cpu = load_prepared(tiny), torch.device("cpu")
    with pytest.raises(UserError, match="must be divisible by their number, 2"):
        assembly.assemble(
            run_settings(batch_size=15), data, RuntimeSettings(), cpu, Unwrapped(0, 2), say=str
        )


def test_torchrun_variables_that_lead_nowhere(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from saliencymixplus.training.trainer import train

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match="WORLD_SIZE is 2, but"):
        train(run_settings(), tiny, tmp_path / "run", runtime)
