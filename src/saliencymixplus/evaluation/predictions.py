"""What a run predicted for each test image, kept compactly so that any two runs can be paired."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliencymixplus.errors import UserError
from saliencymixplus.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

HALF_MAX = 65504.0  # the largest float16


@dataclass(frozen=True)
class Predictions:
    """Per-image predictions of one run's weights.

    Attributes:
        labels: (N,) int32, the true classes.
        ranks: weights (``last``, ``best_validation``, ``best_test``) to (N,) uint16: how many
            classes the network puts before the true one. Exact; the errors come from here.
        logits: (N, K) float16 of the last weights, rounded: for calibration and inspection.
    """

    labels: npt.NDArray[np.int32]
    ranks: Mapping[str, npt.NDArray[np.uint16]]
    logits: npt.NDArray[np.float16]

    @classmethod
    def of(cls, logits: "Mapping[str, Tensor]", labels: "Tensor") -> "Predictions":
        """From float32 logits (N, K) of each kind of weights; ``last`` must be among them."""
        from saliencymixplus.evaluation.accuracy import ranks

        return cls(
            labels.numpy().astype(np.int32),
            {
                which: ranks(found, labels).numpy().astype(np.uint16)
                for which, found in logits.items()
            },
            logits["last"].clamp(-HALF_MAX, HALF_MAX).numpy().astype(np.float16),
        )

    def wrong(self, which: str = "last", k: int = 1) -> npt.NDArray[np.bool_]:
        """(N,) bool: the true class is not among the first ``k``."""
        return self.ranks[which] >= k


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write an .npz: ``labels``, ``logits`` and ``rank_<weights>``."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"labels": predictions.labels, "logits": predictions.logits}
    arrays |= {f"rank_{which}": found for which, found in predictions.ranks.items()}
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, lambda part: part.write_bytes(buffer.getvalue()))


def load_predictions(path: Path) -> Predictions:
    """Read what ``save_predictions`` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content.items())
        ranks = {
            name.removeprefix("rank_"): found
            for name, found in arrays.items()
            if name.startswith("rank_")
        }
        return Predictions(arrays["labels"], ranks, arrays["logits"])
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: run `python cli.py evaluate` first") from error
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): evaluate the run again") from error
