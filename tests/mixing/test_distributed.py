"""Under DistributedDataParallel, a step leaves the mean of the processes' gradients."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from saliencymixplus import mixing

OPTIONS: list[dict[str, Any]] = [
    {},
    {"variant": "published"},
    {"clean_gradient": 0.5, "saliency_mode": "train"},
]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    )  # fmt: skip


def step(model: nn.Module, local: nn.Module, options: dict[str, Any], rank: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(10 + rank)
    images = torch.randn(6, 3, 10, 10, generator=generator)
    labels = torch.randint(5, (6,), generator=generator)
    mixer = mixing.create("saliencymixplus", **options)
    mixing.backward(model, mixer, images, labels, generator=generator, saliency_model=local)
    return [p.grad.clone() for p in local.parameters()]


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = []
    for options in OPTIONS:
        local = network()
        found.append(step(DistributedDataParallel(local), local, options, rank))
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_gloo_available(), reason="needs torch.distributed with gloo")
def test_gradients_are_the_mean_over_processes(tmp_path: Path) -> None:
    commands = [[sys.executable, __file__, str(rank), str(tmp_path)] for rank in range(2)]
    running = [subprocess.Popen(command) for command in commands]
    assert [one.wait(timeout=120) for one in running] == [0, 0]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for k, options in enumerate(OPTIONS):
        own = []
        for rank in range(2):
            model = network()
            own.append(step(model, model, options, rank))
        for name, (first, second) in enumerate(zip(*own, strict=True)):
            expected = (first + second) / 2
            for found in ranks:
                torch.testing.assert_close(found[k][name], expected)


if __name__ == "__main__":
    process(int(sys.argv[1]), sys.argv[2])
