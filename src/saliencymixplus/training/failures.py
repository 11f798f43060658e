"""Error messages of failed trainings: a smaller batch size, and the checkpoint that is kept."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from saliencymixplus.engine.distributed import Processes
from saliencymixplus.errors import UserError, is_out_of_memory
from saliencymixplus.runs.checkpoint import CheckpointStore
from saliencymixplus.settings import RunSettings
from saliencymixplus.training.signals import Interrupted


@contextmanager
def memory_errors(run: RunSettings, device: torch.device, group: Processes) -> Iterator[None]:
    """Turn an out-of-memory error into one line that suggests a batch size."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = run.training.batch_size
        smaller = 1 << (size - 1).bit_length() - 1
        advice = f"training.batch_size {smaller}" if smaller >= 2 * group.world else ""
        if advice and 2 * smaller == size:  # the same steps in less memory
            advice += f" with training.accumulate {2 * run.training.accumulate}"
        raise UserError(
            f"out of memory on {device} with batch size {size}: "
            f"try {advice or 'a smaller network or smaller images'}"
        ) from error


@contextmanager
def naming_checkpoint(store: CheckpointStore) -> Iterator[None]:
    """Add the epoch of the newest checkpoint to the error message of a failed training."""
    try:
        yield
    except Interrupted:
        raise
    except UserError as error:
        newest = None
        with suppress(OSError):  # the disk that caused the error
            newest = store.newest()
        if newest is None:
            raise
        raise UserError(f"{error}; the checkpoint of epoch {newest} is kept") from error
