"""The published figures, and whether a run's settings are the ones they were made with.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation": top-1 and top-5 error
in percent on the test set, at the epoch that is best on the test set; one run each, as far as is
known. They are therefore to be read beside this project's "best on test", not beside "last".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

_RECIPE: dict[str, Any] = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "steps",
    "milestones": [75, 150, 225],
    "gamma": 0.1,
    "warmup_epochs": 0.0,
    "weight_average": None,
}
_TRAINING: dict[str, dict[str, Any]] = {
    CIFAR100: {"epochs": 200, "batch_size": 128, "augment": "flip", "crop_size": (None, 32)},
    PET: {
        "epochs": 300,
        "batch_size": 64,
        "augment": "resized-crop-flip",
        "crop_size": (224,),
    },
}
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
# What the published code does, quirks included; the methods' defaults are the corrected variants.
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

    ``exact``: the run's mixing was the published code's, quirks included; otherwise it is the
    corrected variant of the method, trained with the published recipe.
    """

    top1_error: float
    top5_error: float
    exact: bool


def figure(source: str, model: str, method: str) -> tuple[float, float] | None:
    """Published top-1 and top-5 error, or None where nothing was published."""
    row = _ROWS.get((source, model))
    return row[METHODS.index(method)] if row and method in METHODS else None


def published(settings: Mapping[str, Any]) -> Published | None:
    """The published figure for a run, if its settings (``RunSettings`` as JSON) are the published.

    All that decides the result must agree: data, split, network, recipe. Seed and precision may
    differ: neither was published. Data from a mirror with other archives are other data.
    """
    data, model, training = settings["data"], settings["model"], settings["training"]
    source, mix = settings["download"]["source"], settings["mix"]
    found = figure(source, model["name"], mix["method"])
    if found is None:
        return None
    wanted = _RECIPE | _TRAINING[source]
    crops = wanted.pop("crop_size")
    mixing = mix["method"] != "none"
    agrees = (
        all(_same(training[key], value) for key, value in wanted.items())
        and training["crop_size"] in crops
        and (not mixing or _same(training["mix_prob"], 0.5))
        and all(_same(data[key], value) for key, value in _DATA[source].items())
        and data["validation_fraction"] == 0
        and not settings["download"]["sha256"]
        and model["stem"] in _STEMS[source]
    )
    variant = _variant(mix["method"], mix["options"])
    return Published(*found, exact=variant == "published") if agrees and variant else None


def _variant(method: str, options: Mapping[str, Any]) -> str | None:
    """``published`` or ``corrected`` where all options are that variant's own, else None."""
    from saliencymixplus.mixing import resolve_options

    for variant, chosen in (("published", _OPTIONS[method]), ("corrected", {})):
        if dict(options) == resolve_options(method, chosen):
            return variant
    return None


def _same(value: Any, wanted: Any) -> bool:
    """Equal, numbers up to rounding (means are written with so many digits)."""
    if isinstance(wanted, list):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(_same, value, wanted))
        )
    if isinstance(wanted, float) and isinstance(value, int | float):
        return abs(value - wanted) <= 1e-4 * abs(wanted)
    return bool(value == wanted)
