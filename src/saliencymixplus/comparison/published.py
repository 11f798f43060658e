"""Published errors, and whether a run has the settings they were obtained with.

This file has the results of the SaliencyMix+ paper, ``peers`` those of other publications.

"Noise-Minimized Image Mixing Method with Saliency Map in Data Augmentation": top-1 and top-5 error
in percent on the test set, at the best test epoch, apparently of one run each. Compare them with
this project's "best test epoch", not with "last".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saliencymixplus.comparison.peers import BENCHMARKS, IMAGENET, Benchmark, PublishedErrors
from saliencymixplus.mixing import resolve_options
from saliencymixplus.settings import ModelSettings, RunSettings, TrainingSettings

METHODS = ("none", "cutmix", "saliencymix", "saliencymixplus")
_CIFAR100 = {
    "resnet50": ((27.86, 7.73), (25.19, 6.98), (25.28, 7.38), (24.95, 7.00)),
    "resnet101": ((26.62, 7.88), (24.11, 6.62), (23.90, 6.63), (24.37, 6.51)),
    "wide_resnet101_2": ((27.42, 7.68), (24.72, 6.69), (25.15, 7.06), (24.60, 7.01)),
}
_PET = {
    "resnet50": ((38.68, 12.27), (41.32, 15.18), (40.28, 14.20), (34.89, 12.13)),
    "resnet101": ((35.13, 11.37), (35.24, 12.43), (37.86, 13.11), (34.42, 12.57)),
    "wide_resnet101_2": ((34.80, 11.25), (33.80, 11.53), (36.99, 13.60), (33.14, 11.28)),
}


# The paper's code trains timm's networks, in which every residual branch starts at zero. On CIFAR,
# it replaces their first convolution.
_OTHER_STEM = (
    "the first convolution starts with torch's default weights in the published code, with those "
    "of He et al. (2015) in ours"
)


def _paper(
    source: str,
    libraries: tuple[str, ...],
    stem: str,
    data: Mapping[str, Any],
    training: Mapping[str, Any],
    rows: Mapping[str, tuple[tuple[float, float], ...]],
    differences: str = "",
) -> list[Benchmark]:
    """The paper's results on one data set.

    Args:
        libraries: name prefixes of the libraries that have the paper's networks.
        stem: what ``stem: auto`` means at this image size.
    """
    return [
        Benchmark(
            source,
            # timm's networks start at zero without it.
            {"name": f"{library}{name}", "stem": given, "zero_init_residual": not library},
            data,
            training,
            {mix: PublishedErrors(*errors) for mix, errors in zip(METHODS, row, strict=True)},
            title="the paper",
            differences=differences,
            median=False,
        )
        for name, row in rows.items()
        for library in libraries
        for given in ("auto", stem)
    ]


PAPER = (
    *_paper(
        "cifar100",
        ("",),
        "small",
        {
            "image_size": 32,
            "mean": [125.3 / 255, 123.0 / 255, 113.9 / 255],
            "std": [63.0 / 255, 62.1 / 255, 66.7 / 255],
        },
        {"epochs": 200, "batch_size": 128, "augment": "flip"},
        _CIFAR100,
        differences=_OTHER_STEM,
    ),
    *_paper(
        "oxford_pet",
        ("", "timm/"),
        "standard",
        {"image_size": 256} | IMAGENET,
        {"epochs": 300, "batch_size": 64, "augment": "resized-crop-flip", "crop_size": 224},
        _PET,
    ),
)
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


@dataclass(frozen=True)
class Published:
    """A published error in percent.

    Attributes:
        exact: the run mixes like the published code, quirks included; otherwise it uses the
            corrected variant of the method with the published training recipe.
        median: the error is a median of the last ten epochs, not of the best test epoch.
        source: who published it, as shown in notes.
        differences: how this project differs from the publication, whatever the settings.
        method_differences: the same, of this method only.
    """

    top1_error: float
    top5_error: float | None
    exact: bool
    median: bool = False
    source: str = "the paper"
    differences: str = ""
    method_differences: str = ""


def published(run: RunSettings) -> Published | None:
    """The published errors that a run reproduces, or None.

    Everything that affects the result must match: data (by checksum), split, network, recipe; what
    no setting can match is in ``differences``. Seed and precision may differ, as neither was
    published.
    """
    if run.data.validation_fraction or run.download.sha256:
        return None
    for benchmark in (*PAPER, *BENCHMARKS):
        errors = benchmark.errors.get(run.mix.method)
        if errors is None or not _has_settings(run, benchmark, errors):
            continue
        more = {} if errors.alpha is None else {"alpha": errors.alpha}
        if (variant := _variant(run.mix.method, run.mix.options, more)) is not None:
            return Published(
                errors.top1_error,
                errors.top5_error,
                exact=variant == "published",
                median=benchmark.median,
                source=benchmark.title,
                differences=benchmark.differences,
                method_differences=errors.differences,
            )
    return None


def _has_settings(run: RunSettings, benchmark: Benchmark, errors: PublishedErrors) -> bool:
    """Whether the run's data, network and training are the benchmark's."""
    given = run.training.model_dump()
    if given["crop_size"] == run.data.image_size:  # the default, given explicitly
        given["crop_size"] = None
    for name in ("precision", "sample_epochs", "weights_epochs"):
        del given[name]
    if run.mix.method == "none":
        for name in ("mix_prob", "mix_start", "mix_off_epoch"):
            del given[name]
    if not run.training.augment.startswith("crop"):
        del given["crop_padding"]
    wanted = TrainingSettings.model_validate({**benchmark.training, **errors.training})
    return (
        run.download.source == benchmark.source
        and _same_network(run.model, benchmark.model)
        and all(_same(getattr(run.data, key), value) for key, value in benchmark.data.items())
        and all(_same(value, getattr(wanted, key)) for key, value in given.items())
    )


def _variant(method: str, options: Mapping[str, Any], more: Mapping[str, Any]) -> str | None:
    """Whether the options with ``more`` are exactly those of ``published`` or ``corrected``."""
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


def _same_network(model: ModelSettings, published: Mapping[str, Any]) -> bool:
    """Whether a run's network starts like the published one.

    ``zero_init_residual: auto`` stands for what the published network of that name needs.
    """
    wanted = ModelSettings.model_validate(published)
    if model.zero_init_residual == "auto":
        model = model.model_copy(update={"zero_init_residual": wanted.zero_init_residual})
    return model == wanted
