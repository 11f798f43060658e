"""Choose a device and set precision, threads and determinism."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from saliencymixplus.errors import UserError


def choose_device(name: str = "auto") -> torch.device:
    """The device ``name``; ``auto`` is CUDA if available, else MPS, else the CPU.

    Raises:
        UserError: the device does not exist.
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
    """The dtype of forward and backward passes; ``auto``: bf16 on GPUs with support, else fp32.

    On a CPU with AVX512-BF16 or AMX, bf16 makes a step 1.3 to 2 times as fast
    (docs/performance.md), but some networks are then not bit-reproducible (docs/reliability.md),
    so ``auto`` does not use it there.

    Raises:
        UserError: ``precision`` is bf16 and the device does not support it.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = device.type == "cpu" or torch.backends.mps.is_macos_or_newer(14, 0)
    if precision == "bf16" and not able:
        raise UserError(f"precision bf16: {device} does not support it; choose auto or fp32")
    wanted = precision == "bf16" or (precision == "auto" and able and device.type == "cuda")
    return torch.bfloat16 if wanted else torch.float32


def autocast_for(
    dtype: torch.dtype, device: torch.device
) -> Callable[[], AbstractContextManager[object]]:
    """A factory of autocast contexts for forward passes in ``dtype``."""
    if dtype == torch.float32:
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=dtype)


@contextmanager
def device_settings(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """Set up cuDNN and determinism in the block, then restore these and torch's thread count."""
    before = (
        torch.get_num_threads(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )
    if deterministic:
        # cuBLAS reads this on first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    _use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.benchmark = before[1]
        _use_deterministic_algorithms(before[2])


def _use_deterministic_algorithms(wanted: bool) -> None:
    """Call torch's function only if needed: it imports the compiler, which takes a second."""
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)


@contextmanager
def fresh_compiler(wanted: bool) -> Iterator[None]:
    """In the block, ``torch.compile`` starts from nothing and may compile as often as needed.

    Every recipe and every kind of batch needs its own version of the same few functions. By
    default torch compiles a function eight times per process, then silently runs it uncompiled,
    so that the recipes of a switch and earlier trainings in this process would slow down a run.

    Args:
        wanted: False does nothing, as torch's compiler takes a second to import.
    """
    if not wanted:
        yield
        return
    import torch._dynamo

    torch.compiler.reset()
    with torch._dynamo.config.patch(recompile_limit=1000, accumulated_recompile_limit=10_000):
        yield


def threads_for(flops: float) -> int:
    """CPU threads for a step: one per 2 GFLOP, unless OMP_NUM_THREADS is set.

    More threads gain little on small steps, and on a busy machine waiting for each other is
    expensive: the digits on two busy cores took ten times as long.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return min(usable_cores(), max(1, int(flops / 2e9)))


def usable_cores() -> int:
    """The number of cores this process may use, within a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no quota ("max")
        return count
