"""Experiments with OpenMixup's recipes: their settings, and the published figures."""

from pathlib import Path

import pytest

from saliencymixplus.comparison.peers import BENCHMARKS
from saliencymixplus.comparison.published import published
from saliencymixplus.settings import DownloadSettings, load_params

PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")
CIFAR = "openmixup_cifar100"
# Written by hand from OpenMixup's configuration files: network, epochs, batch size, learning rate,
# weight decay, network input.
RECIPES = {
    f"{CIFAR}_resnet18": ("resnet18", 200, 100, 0.1, 1e-4, 32),
    f"{CIFAR}_resnext50": ("resnext50_32x4d", 200, 100, 0.1, 1e-4, 32),
    f"{CIFAR}_resnext50_cutting": ("resnext50_32x4d", 200, 100, 0.1, 5e-4, 32),
    f"{CIFAR}_wrn28_8": ("wrn28_8", 400, 100, 0.03, 1e-3, 32),
    "openmixup_tiny_imagenet_resnet18": ("resnet18", 400, 100, 0.2, 1e-4, 64),
    "openmixup_cub200_resnet18": ("resnet18", 200, 16, 0.001, 5e-4, 224),
    "openmixup_cub200_resnet50": ("resnet50", 200, 16, 0.001, 5e-4, 224),
    f"{CIFAR}_deit_s": ("timm/deit_small_patch16_224", 200, 100, 0.001, 0.05, 224),
}
# From its networks and pipelines: what no setting covers.
DIFFERENCES = {
    f"{CIFAR}_resnet18": "weights of standard deviation 0.01",
    f"{CIFAR}_resnext50": "weights of standard deviation 0.01",
    f"{CIFAR}_resnext50_cutting": "weights of standard deviation 0.01",
    f"{CIFAR}_wrn28_8": "leaky ReLUs",
    "openmixup_tiny_imagenet_resnet18": "bicubically; their linear layer starts",
    "openmixup_cub200_resnet18": "from the whole picture",
    "openmixup_cub200_resnet50": "from the whole picture",
    f"{CIFAR}_deit_s": "interpolate bicubically",
}
# Likewise from its tables: accuracy of each recipe of params.yaml.
ACCURACIES = {
    f"{CIFAR}_resnet18": {
        "none": 76.42,
        "mixup": 78.52,
        "cutmix-alpha02": 79.45,
        "manifold": 79.18,
        "saliencymix-alpha02": 79.75,
        "puzzlemix": 79.96,
    },
    f"{CIFAR}_resnext50": {
        "none": 79.37,
        "mixup": 81.18,
        "manifold": 81.59,
        "puzzlemix": 81.69,
    },
    f"{CIFAR}_resnext50_cutting": {"cutmix-alpha02": 81.52, "saliencymix-alpha02": 80.72},
    f"{CIFAR}_wrn28_8": {
        "none": 81.63,
        "mixup": 82.82,
        "cutmix-alpha02": 84.45,
        "manifold": 83.24,
        "saliencymix-alpha02": 84.35,
        "puzzlemix": 85.02,
    },
    "openmixup_tiny_imagenet_resnet18": {
        "none": 61.68,
        "mixup": 63.86,
        "cutmix": 65.53,
        "manifold-alpha02": 64.15,
        "saliencymix": 64.60,
        "puzzlemix": 65.81,
    },
    "openmixup_cub200_resnet18": {
        "none": 77.68,
        "mixup-alpha02": 78.39,
        "cutmix": 78.40,
        "manifold-alpha05": 79.76,
        "saliencymix-alpha02": 77.95,
        "puzzlemix": 78.63,
        "automix": 79.87,
    },
    "openmixup_cub200_resnet50": {"none": 82.38, "cutmix": 83.17},
    f"{CIFAR}_deit_s": {"none": 65.81, "cutmix-alpha2": 74.12, "transmix": 76.17},
}
MIXES = sorted({mix for row in ACCURACIES.values() for mix in row} | {"saliencymixplus"})


@pytest.mark.parametrize("experiment", RECIPES)
def test_settings_are_openmixups(experiment: str) -> None:
    section = PARAMS.experiment(experiment)
    recipe, data, model = section.training, section.data, section.model
    side = recipe.crop_size or data.image_size
    found = (model.name, recipe.epochs, recipe.batch_size, recipe.learning_rate)
    assert (*found, recipe.weight_decay, side) == RECIPES[experiment]
    assert (recipe.schedule, recipe.mix_prob, data.validation_fraction) == ("cosine", 1.0, 0)
    from_scratch = experiment.startswith((f"{CIFAR}_resne", "openmixup_tiny"))
    assert (
        model.zero_init_residual == "auto"
    ) == from_scratch  # the default of OpenMixup's ResNets
    if experiment.endswith("deit_s"):
        assert (recipe.optimizer, recipe.no_decay, recipe.warmup_epochs) == (
            "adamw",
            "norm_bias",
            20,
        )
        assert (recipe.label_smoothing, recipe.crop_scale) == (0.1, 0.8)
        assert (recipe.clip_grad_norm, recipe.min_lr, model.drop_path) == (5.0, 1e-6, 0.1)
        assert (recipe.augment, recipe.auto_augment) == ("resized-crop-flip", "randaugment")
        assert (recipe.randaugment_ops, recipe.randaugment_magnitude) == (2, 27)  # 9 of 10
        assert (recipe.randaugment_std, recipe.random_erasing) == (1.5, 0.25)
        assert recipe.warmup_start_lr == 1e-8
        return
    assert (recipe.optimizer, recipe.momentum, recipe.nesterov) == ("sgd", 0.9, False)
    assert recipe.warmup_epochs == 0
    if experiment.startswith(CIFAR):
        assert (recipe.augment, recipe.crop_mode, recipe.crop_padding) == (
            "crop-flip",
            "reflect",
            4,
        )
        assert data.std == (0.2023, 0.1994, 0.2010)
    else:
        assert recipe.augment == "resized-crop-flip"
        assert data.mean == pytest.approx((0.485, 0.456, 0.406))
    cub = "cub" in experiment
    assert model.weights == ("pretrained" if cub else None)
    assert recipe.crop_scale == (0.5 if cub else 0.08)


@pytest.mark.parametrize("experiment", RECIPES)
def test_the_published_accuracy_is_beside_the_recipe_that_has_it(experiment: str) -> None:
    for mix in MIXES:
        found = published(PARAMS.run(experiment, mix, seed=3))
        if mix not in ACCURACIES[experiment]:
            assert found is None, mix
            continue
        assert found is not None, mix
        assert found.top1_error == pytest.approx(100 - ACCURACIES[experiment][mix])
        assert (found.top5_error, found.median) == (None, True)
        assert found.exact == (mix == "none")
        assert DIFFERENCES[experiment] in found.differences


@pytest.mark.parametrize(
    ("experiment", "min_lr", "accuracy", "differs"),
    [
        (f"{CIFAR}_resnet18", 0.05, 80.12, ""),
        (f"{CIFAR}_resnext50", 0.05, 82.84, ""),
        (f"{CIFAR}_wrn28_8", 0.001, 85.18, "the last stage but one, ours at the last; their block"),
        ("openmixup_tiny_imagenet_resnet18", 0.05, 67.33, "optimizer has settings of its own"),
        ("openmixup_cub200_resnet18", 0.0, 79.87, "optimizer has settings of its own"),
    ],
)
def test_automix_has_a_learning_rate_and_differences_of_its_own(
    experiment: str, min_lr: float, accuracy: float, differs: str
) -> None:
    """From its own configuration files: ``CosineAnnealing`` to ``min_lr``, its heads and block."""
    changed = load_params(PARAMS.path, [f"{experiment}.training.min_lr={min_lr}"])
    found = published(changed.run(experiment, "automix", 0))
    assert found is not None
    assert found.top1_error == pytest.approx(100 - accuracy)
    assert "a second head for the clean images" in found.method_differences
    assert differs in found.method_differences
    assert ("optimizer" in found.method_differences) == bool(differs)
    mixup = published(changed.run(experiment, "mixup", 0))
    assert mixup is None or (min_lr == 0.0 and not mixup.method_differences)


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=100",
        "training.nesterov=true",
        "training.weight_decay=5e-4",
        "training.mix_prob=0.5",
        "training.crop_mode=constant",
        "training.crop_padding=2",
        "training.auto_augment=randaugment",
        "training.random_erasing=0.25",
        "training.repeated_augmentation=3",
        "data.validation_fraction=0.1",
        "data.std=[0.2470, 0.2435, 0.2616]",
        "model.stem=small",
        "model.drop_path=0.1",
        "model.zero_init_residual=false",
        "training.freeze_epochs=1",
    ],
)
def test_any_other_setting_has_none(override: str) -> None:
    changed = load_params(PARAMS.path, [f"{CIFAR}_resnet18.{override}"])
    assert published(changed.run(f"{CIFAR}_resnet18", "mixup", 0)) is None


def test_every_figure_has_an_experiment() -> None:
    sections = [PARAMS.experiment(name) for name in RECIPES]
    for benchmark in BENCHMARKS:
        assert any(
            section.download.source == benchmark.source
            and section.model.name == benchmark.model["name"]
            for section in sections
        )


def test_every_published_data_set_has_an_experiment() -> None:
    sources = {section.download.source for section in PARAMS.sections.values()}
    known = {*DownloadSettings.model_fields["source"].annotation.__args__}
    assert known - sources == {"imagefolder"}
