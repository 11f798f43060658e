"""Published errors, and whether a run has the settings they were obtained with.

This file has the results of the SaliencyMix+ paper, ``peers`` those of other publications.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation": top-1 and top-5 error
in percent on the test set, at the best test epoch, apparently of one run each. Compare them with
this project's "best on test", not with "last".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saliencymixplus.comparison.peers import BENCHMARKS, Benchmark
from saliencymixplus.settings import ModelSettings, RunSettings, TrainingSettings
from saliencymixplus.settings.section import Section

CIFAR100, PET = "cifar100", "oxford_pet"
METHODS = ("none", "cutmix", "saliencymix", "saliencymixplus")

_ROWS: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {
    (CIFAR100, "resnet50"): ((27.86, 7.73), (25.19, 6.98), (25.28, 7.38), (24.95, 7.00)),
    (CIFAR100, "resnet101"): ((26.62, 7.88), (24.11, 6.62), (23.90, 6.63), (24.37, 6.51)),
    (CIFAR100, "wide_resnet101_2"): ((27.42, 7.68), (24.72, 6.69), (25.15, 7.06), (24.60, 7.01)),
    (PET, "resnet50"): ((38.68, 12.27), (41.32, 15.18), (40.28, 14.20), (34.89, 12.13)),
    (PET, "resnet101"): ((35.13, 11.37), (35.24, 12.43), (37.86, 13.11), (34.42, 12.57)),
    (PET, "wide_resnet101_2"): ((34.80, 11.25), (33.80, 11.53), (36.99, 13.60), (33.14, 11.28)),
}

# Where the published training differs from the defaults of TrainingSettings.
_TRAINING: dict[str, dict[str, Any]] = {
    CIFAR100: {"epochs": 200, "batch_size": 128, "augment": "flip"},
    PET: {"epochs": 300, "batch_size": 64, "augment": "resized-crop-flip", "crop_size": 224},
}
_INDIFFERENT = {"precision", "sample_epochs", "weights_epochs"}
_OF_MIXING = {"mix_prob", "mix_start", "mix_off_epoch"}
_DATA: dict[str, dict[str, Any]] = {
    CIFAR100: {
        "image_size": 32,
        "mean": [125.3 / 255, 123.0 / 255, 113.9 / 255],
        "std": [63.0 / 255, 62.1 / 255, 66.7 / 255],
    },
    PET: {
        "image_size": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
# Options that reproduce the published code with its quirks; defaults are the corrected variants.
# Methods not listed (AutoMix) have no options that reproduce the published code in every respect.
_OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "cutmix": {"pairs": "permutation"},
    "saliencymix": {"variant": "published"},
    "saliencymixplus": {"variant": "published"},
    "mixup": {"pairs": "permutation"},
    "manifold": {"pairs": "permutation"},
    "puzzlemix": {"variant": "published"},
    "transmix": {"variant": "published"},
}
_STEMS = {CIFAR100: ("auto", "small"), PET: ("auto", "standard")}


@dataclass(frozen=True)
class Published:
    """A published error in percent.

    Attributes:
        exact: the run mixes like the published code, quirks included; otherwise it uses the
            corrected variant of the method with the published training recipe.
        median: the error is a median of the last ten epochs, not the best on test.
        source: who published it, as shown in notes.
        differences: how this project differs from the publication, whatever the settings.
    """

    top1_error: float
    top5_error: float | None
    exact: bool
    median: bool = False
    source: str = "the paper"
    differences: str = ""


def published_errors(source: str, model: str, method: str) -> tuple[float, float] | None:
    """Published top-1 and top-5 error, or None."""
    row = _ROWS.get((source, model))
    return row[METHODS.index(method)] if row and method in METHODS else None


def published(run: RunSettings) -> Published | None:
    """The published errors that a run reproduces, or None.

    Everything that affects the result must match: data (by checksum), split, network, recipe. Seed
    and precision may differ, as neither was published.
    """
    if run.data.validation_fraction or run.download.sha256:
        return None
    source, mix = run.download.source, run.mix
    found = published_errors(source, run.model.name, mix.method)
    if found is not None and (
        _same_training(_TRAINING[source], run, _INDIFFERENT | {"crop_padding"})
        and _has(run.data, _DATA[source])
        and _same_model({"name": run.model.name, "stem": run.model.stem}, run)
        and run.model.stem in _STEMS[source]
    ):
        variant = _variant(mix.method, mix.options, {})
        return Published(*found, exact=variant == "published") if variant else None
    return next(filter(None, (_peer(benchmark, run) for benchmark in BENCHMARKS)), None)


def _peer(benchmark: Benchmark, run: RunSettings) -> Published | None:
    """The benchmark's figure if the run has its settings, else None."""
    found = benchmark.figures.get(run.mix.method)
    if (
        found is None
        or run.download.source != benchmark.source
        or not _same_model(benchmark.model, run)
        or not _has(run.data, benchmark.data)
        or not _same_training({**benchmark.training, **found.training}, run, _INDIFFERENT)
    ):
        return None
    alpha = {} if found.alpha is None else {"alpha": found.alpha}
    variant = _variant(run.mix.method, run.mix.options, alpha)
    if variant is None:
        return None
    return Published(
        top1_error=100 - found.accuracy,
        top5_error=None,
        exact=variant == "published",
        median=True,
        source=benchmark.title,
        differences=benchmark.differences,
    )


def _has(section: Section, wanted: Mapping[str, Any]) -> bool:
    return all(_same(getattr(section, key), value) for key, value in wanted.items())


def _same_model(wanted: Mapping[str, Any], run: RunSettings) -> bool:
    return run.model == ModelSettings.model_validate(wanted)


def _same_training(wanted: Mapping[str, Any], run: RunSettings, ignored: set[str]) -> bool:
    given = run.training.model_dump()
    if given["crop_size"] == run.data.image_size:  # the default, given explicitly
        given["crop_size"] = None
    ignored = ignored | (_OF_MIXING if run.mix.method == "none" else set())
    every = TrainingSettings.model_validate(wanted).model_dump()
    return all(_same(given[key], value) for key, value in every.items() if key not in ignored)


def _variant(method: str, options: Mapping[str, Any], more: Mapping[str, Any]) -> str | None:
    """Whether the options with ``more`` are exactly those of ``published`` or ``corrected``."""
    from saliencymixplus.mixing import resolve_options

    for variant, chosen in (("published", _OPTIONS.get(method)), ("corrected", {})):
        if chosen is not None and dict(options) == resolve_options(method, {**chosen, **more}):
            return variant
    return None


def _same(value: Any, wanted: Any) -> bool:
    """Whether values are equal, floats up to rounding: channel means are given to a few digits."""
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(_same, value, wanted))
        )
    if isinstance(wanted, float) and isinstance(value, int | float):
        return abs(value - wanted) <= 1e-4 * abs(wanted)
    return bool(value == wanted)
