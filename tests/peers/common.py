"""Shared code of the recorded cases: ``check(case)`` in ``tests/peers/METHOD.py``."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Case = Mapping[str, np.ndarray]
# The methods that have a check.
CHECKS = {
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if "\ndef check(" in path.read_text("utf-8")
}


def tensor(case: Case, name: str) -> Tensor:
    """An array of the case; a scalar becomes a tensor of one element."""
    return torch.from_numpy(np.atleast_1d(case[name]))


def close(
    actual: Tensor, recorded: np.ndarray, what: str, *, atol: float = 1e-5, rtol: float = 0.0
) -> None:
    """Assert that a tensor equals a recorded array, compared in the tensor's own precision."""
    expected = torch.from_numpy(np.asarray(recorded)).to(actual.dtype)
    expected = expected.expand(actual.shape) if expected.ndim == 0 else expected
    torch.testing.assert_close(
        actual, expected, atol=atol, rtol=rtol, msg=lambda text: f"{what}: {text}"
    )


def equal(actual: Tensor, recorded: np.ndarray, what: str) -> None:
    """Assert that a tensor holds exactly the recorded values."""
    close(actual, recorded, what, atol=0.0)
