"""The parts of an evaluation; each measures the classifier and adds its results to the report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.datasets.prepared import Split
from saliencymixplus.evaluation import accuracy, calibration
from saliencymixplus.evaluation.attacks import attack_errors
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.evaluation.corruptions import corruption_errors
from saliencymixplus.evaluation.localisation import localisation_per_class, localisation_rows
from saliencymixplus.evaluation.occlusion import mean_error, occlusion_errors
from saliencymixplus.settings.evaluation import EvaluationSettings

Rows = list[dict[str, Any]]


@dataclass
class Report:
    """The results of an evaluation.

    Attributes:
        metrics: by name; errors in percent.
        tables: rows by file stem.
        skipped: why a part was skipped, by part.
        seconds: duration by part.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, Rows] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What is measured: a classifier, the test images, and its predictions for them."""

    classifier: PixelClassifier
    test: Split
    validation: Split | None
    classes: Sequence[str]
    logits: Tensor  # (N, K) of the test images
    labels: Tensor  # (N,)
    settings: EvaluationSettings

    def sample(self) -> np.ndarray:
        """Test-image indices for the costly parts: all, or a random ``settings.images`` of them."""
        count, wanted = len(self.labels), self.settings.images
        if wanted is None or wanted >= count:
            return np.arange(count)
        generator = np.random.default_rng(self.settings.seed)
        return np.sort(generator.choice(count, wanted, replace=False))

    def under(self, errors: Callable[..., Rows], **arguments: Any) -> Rows:
        """Call ``errors``, which measures errors on modified images, for the ``sample``."""
        rows, settings = self.sample(), self.settings
        return errors(
            self.classifier,
            self.test.images[rows],
            self.labels[rows],
            batch_size=settings.batch_size,
            seed=settings.seed,
            **arguments,
        )


def part_names(settings: EvaluationSettings) -> list[str]:
    """The parts of an evaluation with these settings, in order."""
    return [name for name in _PARTS if name in ("accuracy", *settings.parts)]


def measure(subject: Subject, advance: Callable[[int], None]) -> Report:
    """Measure accuracy and the parts selected in the settings.

    ``advance`` is called with 1 after each part.
    """
    report = Report()
    for name in part_names(subject.settings):
        start = time.perf_counter()
        _PARTS[name](subject, report)
        report.seconds[name] = round(time.perf_counter() - start, 3)
        advance(1)
    return report


def _accuracy(subject: Subject, report: Report) -> None:
    logits, labels, classes = subject.logits, subject.labels, subject.classes
    report.metrics |= accuracy.errors(logits, labels)
    report.tables["per_class"] = accuracy.per_class(logits, labels, classes)
    report.tables["confusion"] = accuracy.confusion_pairs(logits, labels, classes)


def _calibration(subject: Subject, report: Report) -> None:
    logits, labels, bins = subject.logits, subject.labels, subject.settings.calibration_bins
    report.metrics["ece"] = calibration.calibration_error(logits, labels, bins)
    before = calibration.reliability_bins(logits, labels, bins)
    report.tables["reliability"] = [{"scaling": "none"} | row for row in before]
    if subject.validation is None:
        report.skipped["temperature"] = (
            "there is no validation split to fit it on (data.validation_fraction is 0)"
        )
        return
    held_out = predict_logits(
        subject.classifier, subject.validation.images, subject.settings.batch_size
    )
    held_out_labels = torch.from_numpy(np.array(subject.validation.labels))
    temperature = calibration.fit_temperature(held_out, held_out_labels)
    scaled = logits / temperature
    report.metrics["temperature"] = temperature
    report.metrics["ece_scaled"] = calibration.calibration_error(scaled, labels, bins)
    report.metrics["nll_scaled"] = accuracy.errors(scaled, labels)["nll"]
    after = calibration.reliability_bins(scaled, labels, bins)
    report.tables["reliability"] += [{"scaling": "temperature"} | row for row in after]


def _corruptions(subject: Subject, report: Report) -> None:
    names = subject.settings.corruptions
    found = subject.under(corruption_errors, corruptions=names)
    means = {
        name: float(np.mean([row["top1_error"] for row in found if row["corruption"] == name]))
        for name in names
    }
    rows = subject.sample()
    clean = accuracy.errors(subject.logits[rows], subject.labels[rows])["top1_error"]
    mean = float(np.mean(list(means.values())))
    report.tables["corruptions"] = found
    report.metrics |= {f"corruption_{name}_error": error for name, error in means.items()}
    report.metrics |= {
        "mean_corruption_error": mean,
        "relative_corruption_error": mean - clean,
    }


def _attacks(subject: Subject, report: Report) -> None:
    settings = subject.settings
    found = subject.under(attack_errors, epsilons=settings.epsilons, pgd_steps=settings.pgd_steps)
    report.tables["attacks"] = found
    report.metrics |= {
        f"{row['attack']}_eps{row['epsilon_255']:g}_error": row["top1_error"]
        for row in found
        if row["epsilon"]
    }


def _occlusion(subject: Subject, report: Report) -> None:
    found = subject.under(occlusion_errors, fractions=subject.settings.occlusion_shares)
    report.tables["occlusion"] = found
    for kind in ("centre", "random"):
        report.metrics[f"occlusion_{kind}_error"] = mean_error(found, kind)


def _localisation(subject: Subject, report: Report) -> None:
    if subject.test.masks is None:
        report.skipped["localisation"] = "the data have no object masks"
        return
    rows, settings = subject.sample(), subject.settings
    found, reason = localisation_rows(
        subject.classifier,
        subject.test.images[rows],
        subject.labels[rows],
        subject.test.masks[rows],
        threshold=settings.localisation_threshold,
        batch_size=settings.batch_size,
    )
    if reason:
        report.skipped["localisation"] = reason
        return
    report.tables["localisation"] = localisation_per_class(
        found, subject.labels[rows], subject.classes
    )
    report.metrics |= {f"localisation_{k}": float(np.nanmean(v)) for k, v in found.items()}


_PARTS: dict[str, Callable[[Subject, Report], None]] = {
    "accuracy": _accuracy,
    "calibration": _calibration,
    "corruptions": _corruptions,
    "attacks": _attacks,
    "occlusion": _occlusion,
    "localisation": _localisation,
}
