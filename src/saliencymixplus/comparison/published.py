"""The published errors, and whether a run has the settings they were obtained with.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation": top-1 and top-5 error
in percent on the test set, at the epoch that is best on the test set; one run each, as far as is
known. They compare with this project's "best on test", not with "last".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saliencymixplus.settings import RunSettings
from saliencymixplus.settings.schema import TrainingSettings

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

# What differs from the default of TrainingSettings.
_TRAINING: dict[str, dict[str, Any]] = {
    CIFAR100: {"epochs": 200, "batch_size": 128, "augment": "flip"},
    PET: {"epochs": 300, "batch_size": 64, "augment": "resized-crop-flip", "crop_size": 224},
}
_INDIFFERENT = {"precision", "sample_epochs", "weights_epochs", "crop_padding"}
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
# The published code's options, quirks included; the methods' defaults are the corrected variants.
_OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "cutmix": {"pairs": "permutation"},
    "saliencymix": {"variant": "published"},
    "saliencymixplus": {"variant": "published"},
}
_STEMS = {CIFAR100: ("auto", "small"), PET: ("auto", "standard")}


@dataclass(frozen=True)
class Published:
    """A published pair of errors in percent.

    ``exact``: the run mixed as the published code does, quirks included; otherwise it used the
    corrected variant of the method with the published training recipe.
    """

    top1_error: float
    top5_error: float
    exact: bool


def figure(source: str, model: str, method: str) -> tuple[float, float] | None:
    """Published top-1 and top-5 error; None if nothing was published."""
    row = _ROWS.get((source, model))
    return row[METHODS.index(method)] if row and method in METHODS else None


def published(run: RunSettings) -> Published | None:
    """The published errors for a run, if it was trained as they were.

    Everything that decides the result must agree: data, split, network, recipe. Seed and precision
    may differ, as neither was published. Data with another checksum are other data.
    """
    source, mix = run.download.source, run.mix
    found = figure(source, run.model.name, mix.method)
    if found is None:
        return None
    agrees = (
        _same_training(source, run)
        and all(_same(getattr(run.data, key), value) for key, value in _DATA[source].items())
        and run.data.validation_fraction == 0
        and not run.download.sha256
        and run.model.stem in _STEMS[source]
    )
    variant = _variant(mix.method, mix.options)
    return Published(*found, exact=variant == "published") if agrees and variant else None


def _same_training(source: str, run: RunSettings) -> bool:
    wanted = TrainingSettings(**_TRAINING[source]).model_dump()
    given = run.training.model_dump()
    if given["crop_size"] == run.data.image_size:  # as prepared, said explicitly
        given["crop_size"] = None
    ignored = _INDIFFERENT | (_OF_MIXING if run.mix.method == "none" else set())
    return all(_same(given[key], value) for key, value in wanted.items() if key not in ignored)


def _variant(method: str, options: Mapping[str, Any]) -> str | None:
    """``published`` or ``corrected`` if all options are that variant's own, else None."""
    from saliencymixplus.mixing import resolve_options

    for variant, chosen in (("published", _OPTIONS[method]), ("corrected", {})):
        if dict(options) == resolve_options(method, chosen):
            return variant
    return None


def _same(value: Any, wanted: Any) -> bool:
    """Equal, numbers up to rounding: means are written with so many digits."""
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(_same, value, wanted))
        )
    if isinstance(wanted, float) and isinstance(value, int | float):
        return abs(value - wanted) <= 1e-4 * abs(wanted)
    return bool(value == wanted)
