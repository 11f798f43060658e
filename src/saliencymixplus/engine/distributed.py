"""Distributed training over several processes started by ``torchrun``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from saliencymixplus.errors import UserError, one_line


@dataclass(frozen=True)
class Processes:
    """This process's rank among all processes of the training."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that tracks, writes and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> None:
        """Sum ``values`` over all processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)

    def broadcast(self, content: bytes | None) -> bytes:
        """Broadcast rank 0's ``content``; empty if it is None."""
        shared = [content or b""]
        if self.world > 1:
            dist.broadcast_object_list(shared, 0)
        return shared[0]

    def part(self, batch: Tensor) -> Tensor:
        """This process's rows of ``batch`` (B,); a remainder is dropped."""
        size = len(batch) // self.world
        return batch[self.rank * size : (self.rank + 1) * size]

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Wrap ``model`` in ``DistributedDataParallel``, which averages gradients over processes.

        Batch normalisation uses each process's part of the batch. Its running statistics are left
        to ``share_buffers``.
        """
        if self.world == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        # DDP's own broadcast precedes a forward pass, and so comes too late for a saliency pass
        # before it, for the moving average and for the evaluation.
        return nn.parallel.DistributedDataParallel(model, device_ids=ids, broadcast_buffers=False)


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Copy rank 0's buffers, such as batch-norm statistics, to all processes.

    Called after each step, so that all processes continue with what is in a checkpoint, which only
    rank 0 writes.
    """
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for buffer in model.buffers():
        by_dtype.setdefault(buffer.dtype, []).append(buffer)
    for buffers in by_dtype.values():
        values = torch.cat([buffer.flatten() for buffer in buffers])
        dist.broadcast(values, 0)
        for buffer, part in zip(buffers, values.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """Join the process group that ``torchrun`` started, or yield a single process without it.

    Raises:
        UserError: torchrun's variables are incomplete, or the processes cannot connect.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if not size.isdecimal():
        raise UserError(f"WORLD_SIZE is {size!r}, not a number of processes: start with torchrun")
    world = int(size)
    if world == 1:
        yield Processes()
        return
    if dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
        return
    try:
        backend = "nccl" if device.type == "cuda" else "gloo"
        # Rank 0 may wait at the end for a tracking server.
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"WORLD_SIZE is {world}, but {one_line(error)}: start with torchrun"
        ) from error
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The device of this process; with CUDA, each process on a machine has its own GPU."""
    rank = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or rank is None:
        return device
    if int(rank) >= torch.cuda.device_count():
        raise UserError(
            f"process {rank} on this machine has no GPU of its own (torch finds "
            f"{torch.cuda.device_count()}): lower --nproc-per-node"
        )
    torch.cuda.set_device(int(rank))
    return torch.device("cuda", int(rank))
