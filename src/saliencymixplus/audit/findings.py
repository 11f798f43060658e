"""The results of an audit, and their conversion to and from audit.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saliencymixplus.audit.statistics import METRICS
from saliencymixplus.bootstrap import Difference, Estimate
from saliencymixplus.errors import UserError
from saliencymixplus.files import read_json
from saliencymixplus.runs.folder import (
    LARGEST_JSON,
    Amount,
    Count,
    Digest,
    Record,
    Side,
    Text,
    read_record,
)
from saliencymixplus.settings import MixSettings
from saliencymixplus.settings.evaluation import AuditSettings

AGAIN = "run `python cli.py audit` again"

COMPARED = ("mean_absolute_error", "bias", "no_object", "pixel_mean_absolute_error")
BASELINE = "cutmix"  # its labels are the area fractions
Estimates = Mapping[str, Estimate]  # by metric
Differences = Mapping[str, Difference]


class AuditedData(Record):
    """The images that were mixed."""

    name: Text
    digest: Digest
    split: Text


class Details(Record):
    """details.json: data, settings, recipes and networks of an audit."""

    data: AuditedData
    annotated_images: Count
    input_size: Side
    settings: AuditSettings
    recipes: dict[Text, MixSettings]
    runs: dict[Text, list[Digest]]  # digests, by recipe
    trained_with: dict[Text, list[Text]]  # recipes those runs were trained with, by audited recipe
    device: Text
    torch: Text
    seconds: Amount


@dataclass(frozen=True)
class Findings:
    """Label errors of every recipe.

    Attributes:
        estimates: by recipe, then metric.
        differences: by ``(recipe, other)``, then metric in ``COMPARED``: recipe minus other.
        along_training: by recipe, then epoch, then metric, for recipes whose runs kept weights.
    """

    estimates: Mapping[str, Estimates]
    differences: Mapping[tuple[str, str], Differences]
    along_training: Mapping[str, Mapping[int, Estimates]]
    details: Details

    @property
    def baseline(self) -> str:
        """The recipe the others are compared with: CutMix if present, else the first."""
        return BASELINE if BASELINE in self.estimates else next(iter(self.estimates))

    def to_json(self, samples: Mapping[str, int]) -> dict[str, Any]:
        """The content of audit.json; ``samples`` is the number of mixed samples by recipe."""
        names = list(self.estimates)
        return {
            "mixes": {
                name: {"samples": samples[name]} | _flat(found)
                for name, found in self.estimates.items()
            },
            "differences": {
                f"{first}-{second}": _flat(self.differences[first, second])
                for at, second in enumerate(names)
                for first in names[at + 1 :]
            },
            "along_training": {
                name: {f"epoch_{epoch:04d}": _flat(found) for epoch, found in by_epoch.items()}
                for name, by_epoch in self.along_training.items()
            },
        }


def load_findings(folder: Path) -> Findings | str:
    """Read what ``audit`` wrote to ``folder``; if it was skipped, return the reason.

    Raises:
        UserError: a file is missing, damaged or of another version.
    """
    result = read_json(folder / "audit.json", LARGEST_JSON)
    try:
        if "skipped" in result:
            return str(result["skipped"])
        found = {str(name): _estimates(flat) for name, flat in result["mixes"].items()}
        differences = {
            (first, second): _differences(result["differences"], first, second)
            for first in found
            for second in found
            if first != second
        }
        along = {
            str(name): {
                int(epoch.removeprefix("epoch_")): _estimates(flat)
                for epoch, flat in by_epoch.items()
            }
            for name, by_epoch in result["along_training"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder) from error
    details = read_record(folder / "details.json", Details, AGAIN)
    if not found or not set(found) <= set(details.recipes) or not set(along) <= set(found):
        raise _damaged(folder)
    return Findings(found, differences, along, details)


def _damaged(folder: Path) -> UserError:
    return UserError(f"{folder / 'audit.json'} is damaged or of another version: {AGAIN}")


def _flat(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Flatten to metric, metric_low, metric_high (and metric_p_value), omitting NaN."""
    return {
        name if key == "value" else f"{name}_{key}": float(value)
        for name, estimate in found.items()
        for key, value in asdict(estimate).items()
        if math.isfinite(value)
    }


def _estimates(flat: Mapping[str, Any]) -> dict[str, Estimate]:
    return {metric: Estimate(*_numbers(flat, metric, "", "_low", "_high")) for metric in METRICS}


def _differences(
    flat: Mapping[str, Mapping[str, Any]], first: str, second: str
) -> dict[str, Difference]:
    swapped = f"{first}-{second}" not in flat
    found = flat[f"{second}-{first}" if swapped else f"{first}-{second}"]
    result = {}
    for metric in COMPARED:
        value, low, high, p = _numbers(found, metric, "", "_low", "_high", "_p_value")
        result[metric] = (
            Difference(-value, -high, -low, p) if swapped else Difference(value, low, high, p)
        )
    return result


def _numbers(flat: Mapping[str, Any], metric: str, *ends: str) -> list[float]:
    return [float(flat.get(metric + end, math.nan)) for end in ends]
