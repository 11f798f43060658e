"""The device of a training: chosen, checked, and set up for its precision, threads, determinism."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
    """The type of the matrix products: bf16 under ``auto`` on GPUs that have it, else fp32.

    On CPUs ``auto`` is fp32: with AVX512-BF16 and without AMX, bf16 is slower than fp32 for the
    small networks that a CPU trains (docs/performance.md has the figures).

    Raises:
        UserError: bf16 is asked for where it is not to be had.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = device.type == "cpu" or torch.backends.mps.is_macos_or_newer(14, 0)
    if precision == "bf16" and not able:
        raise UserError(f"precision bf16: {device} does not have it; choose auto or fp32")
    wanted = precision == "bf16" or (precision == "auto" and device.type == "cuda" and able)
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
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(before[0], usable_cores()))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.use_deterministic_algorithms(before[2])


def usable_cores() -> int:
    """Cores that this process may use, a container's quota included."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:  # noqa: PTH123
            quota, period = file.read().split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no quota ("max")
        return count
