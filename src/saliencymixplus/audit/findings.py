"""The results of an audit, and their conversion to and from audit.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from saliencymixplus.audit.statistics import COMPARED, METRICS
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

BASELINE = "cutmix"  # its labels are the area fractions
_ENDS = ("", "_low", "_high")
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
        differences: by ``(recipe, earlier one)``, then metric in ``COMPARED``: the first minus the
            second.
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

    def against_baseline(self, name: str) -> Differences:
        """The differences of a recipe from the baseline."""
        if (name, self.baseline) in self.differences:
            return self.differences[name, self.baseline]
        return {
            metric: Difference(-gap.value, -gap.high, -gap.low, gap.p_value)
            for metric, gap in self.differences[self.baseline, name].items()
        }

    def to_json(self, samples: Mapping[str, int]) -> dict[str, Any]:
        """The content of audit.json; ``samples`` is the number of mixed samples by recipe."""
        return {
            "mixes": {
                name: {"samples": samples[name]} | _flat(found)
                for name, found in self.estimates.items()
            },
            "differences": {
                f"{first}-{second}": _flat(gaps)
                for (first, second), gaps in self.differences.items()
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
            (first, second): {
                metric: Difference(*_numbers(flat, metric, *_ENDS, "_p_value"))
                for metric in COMPARED
            }
            for second, first in combinations(found, 2)
            for flat in [result["differences"][f"{first}-{second}"]]
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
    return {metric: Estimate(*_numbers(flat, metric, *_ENDS)) for metric in METRICS}


def _numbers(flat: Mapping[str, Any], metric: str, *ends: str) -> list[float]:
    return [float(flat.get(metric + end, math.nan)) for end in ends]
