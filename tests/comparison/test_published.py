"""Which runs are shown with a published figure."""

from pathlib import Path

import pytest

from saliencymixplus.comparison.published import METHODS, published, published_errors
from saliencymixplus.settings import load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


def settings(experiment, mix, *overrides, seed=0):
    return load_params(PARAMS, overrides).run(experiment, mix, seed)


def test_figures_as_published():
    assert published_errors("cifar100", "resnet50", "saliencymixplus") == (24.95, 7.00)
    assert published_errors("cifar100", "wide_resnet101_2", "none") == (27.42, 7.68)
    assert published_errors("oxford_pet", "resnet101", "cutmix") == (35.24, 12.43)
    assert published_errors("cifar10", "resnet50", "none") is None
    assert published_errors("cifar100", "resnet50", "mixup") is None


@pytest.mark.parametrize("experiment", ["cifar100", "oxford_pet"])
@pytest.mark.parametrize("method", METHODS)
def test_the_experiments_of_params_yaml_are_the_published(experiment, method):
    found = published(settings(experiment, method))
    assert (found.top1_error, found.top5_error) == published_errors(experiment, "resnet50", method)
    assert found.exact == (method == "none")  # the default variants are the corrected ones


@pytest.mark.parametrize(
    ("mix", "override"),
    [
        ("saliencymixplus-published", "seeds=[0]"),
        ("saliencymix-published", "seeds=[0]"),
        ("cutmix", "mix.cutmix.pairs=permutation"),
    ],
)
def test_the_published_variants_are_exact(mix, override):
    assert published(settings("cifar100", mix, override)).exact


@pytest.mark.parametrize(
    "override",
    [
        "cifar100.training.epochs=199",
        "cifar100.training.batch_size=64",
        "cifar100.training.mix_prob=1.0",
        "cifar100.training.mix_start=5",
        "cifar100.training.mix_off_epoch=150",
        "cifar100.training.momentum=0.8",
        "cifar100.training.learning_rate=0.05",
        "cifar100.training.augment=crop-flip",
        "cifar100.training.schedule=cosine",
        "cifar100.training.milestones=[100]",
        "cifar100.training.weight_average=0.9",
        "cifar100.data.validation_fraction=0.1",
        "cifar100.data.image_size=64",
        "cifar100.data.mean=[0.5, 0.5, 0.5]",
        "cifar100.model.name=resnet18",
        "cifar100.model.stem=standard",
        "cifar100.download.sha256={cifar-100-python.tar.gz: abc}",
        "mix.saliencymixplus.label=area",
    ],
)
def test_any_other_setting_has_none(override):
    assert published(settings("cifar100", "saliencymixplus", override)) is None


def test_what_was_not_published_does_not_matter():
    run = settings(
        "cifar100",
        "none",
        "cifar100.training.precision=fp32",
        "cifar100.training.mix_prob=0.9",
        "cifar100.training.crop_size=32",
        seed=17,
    )
    assert published(run) is not None


def test_digits_have_none():
    assert published(settings("digits", "saliencymixplus")) is None
