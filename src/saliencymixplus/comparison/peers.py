"""Published benchmark tables: OpenMixup's results for recipes that params.yaml has as experiments.

Top-1 accuracy in percent on the test (or validation) set, the median of the last ten epochs, from
OpenMixup's model zoo (Li et al. 2022, arXiv:2209.04851; Westlake-AI/openmixup, Model_Zoo_sup.md);
CUB-200 with ResNet-50 from Qin et al., "Adversarial AutoMixup", ICLR 2024. Settings are those of
OpenMixup's configuration files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_OPENMIXUP = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.201]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class PublishedErrors:
    """A method's errors in percent, and how it deviates from the benchmark: ``training`` settings,
    and ``differences`` as in ``Benchmark``."""

    top1_error: float
    top5_error: float | None = None
    alpha: float | None = None  # of λ's Beta distribution; None: not published
    training: Mapping[str, Any] = field(default_factory=dict)
    differences: str = ""


@dataclass(frozen=True)
class Benchmark:
    """One column of a published table.

    Attributes:
        source: the data set, as in ``download.source``.
        model, data: settings that a run must have, by key in their section.
        training: likewise; all others must have the defaults of ``TrainingSettings``.
        errors: published errors by method.
        title: the publication.
        differences: what this project does differently, whatever the settings.
        median: the errors are medians of the last ten epochs, not of the best test epoch.
    """

    source: str
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    errors: Mapping[str, PublishedErrors]
    title: str = "OpenMixup's model zoo"
    differences: str = ""
    median: bool = True


_AUTOMIX = (
    "their network has a second head for the clean images, and the decay of their moving average "
    "rises to 0.999999, whereas ours is constant"
)
_AUTOMIX_OPTIMIZER = "; their block's optimizer has settings of its own"


def _row(
    accuracies: tuple[float, ...],
    alphas: tuple[float, ...],
    cutting: Mapping[str, Any] | None = None,
    automix_min_lr: float = 0.0,
    automix_differences: str = _AUTOMIX + _AUTOMIX_OPTIMIZER,
) -> dict[str, PublishedErrors]:
    """OpenMixup's errors by method.

    Args:
        accuracies: top-1, in percent, of plain training and then of each method.
        alphas: of λ's Beta distribution, for each method.
        cutting: settings of the cut-and-paste methods.
        automix_min_lr: final learning rate of AutoMix.
        automix_differences: what this project does differently with AutoMix.
    """
    methods = ("none", "mixup", "cutmix", "manifold", "saliencymix", "puzzlemix", "automix")
    own: dict[str, Mapping[str, Any]] = {"automix": {"min_lr": automix_min_lr}}
    own |= {method: cutting or {} for method in ("cutmix", "saliencymix")}
    differences = {"automix": automix_differences}
    return {
        method: PublishedErrors(
            100 - accuracy, None, alpha, own.get(method, {}), differences.get(method, "")
        )
        for method, accuracy, alpha in zip(methods, accuracies, (None, *alphas), strict=True)
    }


_ALPHAS = (1.0, 0.2, 2.0, 0.2, 1.0, 2.0)
_CIFAR = {
    "epochs": 200,
    "batch_size": 100,
    "learning_rate": 0.1,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "mix_prob": 1.0,
    "augment": "crop-flip",
    "crop_mode": "reflect",
}
_CUB = {
    "epochs": 200,
    "batch_size": 16,
    "learning_rate": 0.001,
    "nesterov": False,
    "schedule": "cosine",
    "mix_prob": 1.0,
    "augment": "resized-crop-flip",
    "crop_scale": 0.5,
    "crop_size": 224,
    "test_crop": "center",
}
# The default of openmixup/models/backbones/resnet_mmcls.py, which no configuration changes.
_RESNET18 = {"name": "resnet18", "zero_init_residual": True}
# The default of openmixup/models/heads/cls_head.py.
_HEAD_DIFFERENCES = (
    "their linear layer starts with weights of standard deviation 0.01 and biases of zero, ours "
    "with torch's default"
)
_WRN_DIFFERENCES = (
    "their network has leaky ReLUs, biases in its convolutions, and batch norms with a momentum "
    f"and an epsilon of 0.001; {_HEAD_DIFFERENCES}"
)
_CUB_DIFFERENCES = "their training crops come from the whole picture, ours from its central square"
_DEIT = {
    "epochs": 200,
    "batch_size": 100,
    "learning_rate": 0.001,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "no_decay": "norm_bias",
    "label_smoothing": 0.1,
    "clip_grad_norm": 5.0,
    "schedule": "cosine",
    "min_lr": 1e-6,
    "warmup_epochs": 20,
    "warmup_start_lr": 1e-8,
    "mix_prob": 1.0,
    "augment": "resized-crop-flip",
    "crop_scale": 0.8,
    "crop_size": 224,
    "auto_augment": "randaugment",
    "randaugment_magnitude": 27,
    "randaugment_std": 1.5,
    "random_erasing": 0.25,
}

BENCHMARKS = (
    Benchmark(
        "cifar100",
        _RESNET18,
        {"image_size": 32} | _OPENMIXUP,
        _CIFAR,
        _row(
            (76.42, 78.52, 79.45, 79.18, 79.75, 79.96, 80.12),
            _ALPHAS,
            automix_min_lr=0.05,
            automix_differences=_AUTOMIX,
        ),
        differences=_HEAD_DIFFERENCES,
    ),
    Benchmark(
        "cifar100",
        {"name": "resnext50_32x4d", "zero_init_residual": True},
        {"image_size": 32} | _OPENMIXUP,
        _CIFAR,
        _row(
            (79.37, 81.18, 81.52, 81.59, 80.72, 81.69, 82.84),
            _ALPHAS,
            cutting={"weight_decay": 5e-4},
            automix_min_lr=0.05,
            automix_differences=_AUTOMIX,
        ),
        differences=_HEAD_DIFFERENCES,
    ),
    Benchmark(
        "cifar100",
        {"name": "wrn28_8"},
        {"image_size": 32} | _OPENMIXUP,
        _CIFAR | {"epochs": 400, "learning_rate": 0.03, "weight_decay": 1e-3},
        _row(
            (81.63, 82.82, 84.45, 83.24, 84.35, 85.02, 85.18),
            _ALPHAS,
            automix_min_lr=0.001,
            automix_differences=f"{_AUTOMIX}; their block looks at the last stage but one, ours at "
            f"the last{_AUTOMIX_OPTIMIZER}",
        ),
        differences=_WRN_DIFFERENCES,
    ),
    Benchmark(
        "tiny_imagenet",
        _RESNET18,
        {"image_size": 64} | IMAGENET,
        _CIFAR
        | {"epochs": 400, "learning_rate": 0.2, "augment": "resized-crop-flip"}
        | {"crop_mode": "constant"},
        _row(
            (61.68, 63.86, 65.53, 64.15, 64.60, 65.81, 67.33),
            (1.0, 1.0, 0.2, 1.0, 1.0, 2.0),
            automix_min_lr=0.05,
        ),
        differences=f"they resize crops bicubically; {_HEAD_DIFFERENCES}",
    ),
    Benchmark(
        "cub200",
        {"name": "resnet18", "weights": "pretrained"},
        {"image_size": 256, "resize": "crop"} | IMAGENET,
        _CUB,
        _row(
            (77.68, 78.39, 78.40, 79.76, 77.95, 78.63, 79.87),
            (0.2, 1.0, 0.5, 0.2, 1.0, 2.0),
        ),
        differences=f"{_CUB_DIFFERENCES}; {_HEAD_DIFFERENCES}",
    ),
    Benchmark(
        "cub200",
        {"name": "resnet50", "weights": "pretrained"},
        {"image_size": 256, "resize": "crop"} | IMAGENET,
        _CUB,
        {"none": PublishedErrors(100 - 82.38), "cutmix": PublishedErrors(100 - 83.17, alpha=1.0)},
        title="Adversarial AutoMixup",
        differences=_CUB_DIFFERENCES,
    ),
    Benchmark(
        "cifar100",
        {"name": "timm/deit_small_patch16_224", "drop_path": 0.1},
        {"image_size": 32} | _OPENMIXUP,
        _DEIT,
        {
            "none": PublishedErrors(100 - 65.81),
            "cutmix": PublishedErrors(100 - 74.12, alpha=2.0),
            "transmix": PublishedErrors(100 - 76.17),
        },
        differences="they interpolate bicubically, take RandAugment's ranges from FixMatch and "
        "start the cosine before the warm-up",
    ),
)
