"""The device of a training: chosen, checked, and set up for its precision, threads, determinism."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from saliencymixplus.errors import UserError


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA, else MPS, else the CPU; others are checked.

    Raises:
        UserError: no such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"no device {name!r}: choose auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(f"device {name}: torch finds {count} CUDA devices; choose --device cpu")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device mps: torch finds no Metal device; choose --device cpu")
    if device.type not in ("cpu", "mps"):
        raise UserError(f"no device {name!r}: choose auto, cpu, cuda, cuda:N or mps")
    return device


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type of the matrix products: under ``auto`` bf16 on a GPU that has it, else fp32.

    On a CPU with the instructions (AVX512-BF16, AMX) bf16 makes a step 1.3 to 2 times as fast
    (docs/performance.md), but some networks do not repeat bit by bit (docs/reliability.md): it
    has to be asked for.

    Raises:
        UserError: bf16 is asked for where it is not to be had.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = device.type == "cpu" or torch.backends.mps.is_macos_or_newer(14, 0)
    if precision == "bf16" and not able:
        raise UserError(f"precision bf16: {device} does not have it; choose auto or fp32")
    wanted = precision == "bf16" or (precision == "auto" and able and device.type == "cuda")
    return torch.bfloat16 if wanted else torch.float32


def autocast_for(
    dtype: torch.dtype, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    """Makes the context of a forward pass in ``dtype``."""
    if dtype == torch.float32:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


@contextmanager
def device_settings(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Threads, cuDNN and determinism for one training; everything is as before afterwards."""
    before = (
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )
    if deterministic:
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.use_deterministic_algorithms(before[2])


def use_threads_for(device: torch.device, flops: float) -> None:
    """Set torch's threads for steps of ``flops``, unless OMP_NUM_THREADS says how many.

    A second thread gains little on a small step, and threads that wait for each other on a busy
    machine lose much (ten times, for the digits on two cores): one for every 2 GFLOP.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(usable_cores(), max(1, int(flops / 2e9))))


def usable_cores() -> int:
    """Cores that this process may use, a container's quota included."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no quota ("max")
        return count
