"""Which runs are shown with a published figure."""

from pathlib import Path

import pytest

from saliencymixplus.comparison.peers import BENCHMARKS
from saliencymixplus.comparison.published import METHODS, PAPER, published
from saliencymixplus.models import create_model, has_zero_init
from saliencymixplus.settings import ModelSettings, load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


def settings(experiment, mix, *overrides, seed=0):
    return load_params(PARAMS, overrides).run(experiment, mix, seed)


# The paper's tables: top-1 and top-5 error in the order of METHODS.
FIGURES = [
    ("cifar100", "resnet50", ((27.86, 7.73), (25.19, 6.98), (25.28, 7.38), (24.95, 7.00))),
    ("cifar100", "wide_resnet101_2", ((27.42, 7.68), (24.72, 6.69), (25.15, 7.06), (24.60, 7.01))),
    ("oxford_pet", "resnet50", ((38.68, 12.27), (41.32, 15.18), (40.28, 14.20), (34.89, 12.13))),
    ("oxford_pet", "resnet101", ((35.13, 11.37), (35.24, 12.43), (37.86, 13.11), (34.42, 12.57))),
]


@pytest.mark.parametrize(("experiment", "model", "errors"), FIGURES)
def test_the_experiments_of_params_yaml_are_the_published(experiment, model, errors):
    for method, figures in zip(METHODS, errors, strict=True):
        found = published(settings(experiment, method, f"{experiment}.model.name={model}"))
        assert (found.top1_error, found.top5_error) == figures
        assert found.exact == (method == "none")  # the default variants are the corrected ones
        assert (found.source, found.median) == ("the paper", False)


def residual_scales(name, zero_init_residual):
    """The initial scales of the last batch norm of each residual branch."""
    model = create_model(name, 5, 64, zero_init_residual=zero_init_residual)
    blocks = [module for module in model.modules() if hasattr(module, "bn3")]
    return {scale for block in blocks for scale in block.bn3.weight.tolist()}


@pytest.mark.parametrize(
    ("name", "zero_init_residual", "scales"),
    [
        ("resnet50", True, {0.0}),
        ("resnet50", "auto", {0.0}),
        ("resnet50", False, {1.0}),
        ("timm/resnet50", False, {0.0}),
        ("timm/resnet50", "auto", {0.0}),
    ],
)
def test_only_a_network_that_starts_as_timms_has_the_published_errors(
    name, zero_init_residual, scales
):
    """The published code calls ``timm.create_model``."""
    pytest.importorskip("timm")
    assert residual_scales(name, zero_init_residual) == scales
    for experiment, error in (("oxford_pet", 38.68), ("cifar100", 27.86)):
        chosen = f"{{name: {name}, zero_init_residual: {str(zero_init_residual).lower()}}}"
        found = published(settings(experiment, "none", f"{experiment}.model={chosen}"))
        if scales == {1.0} or (experiment == "cifar100" and name.startswith("timm/")):
            assert found is None
        else:
            assert found.top1_error == error
            assert bool(found.differences) == (experiment == "cifar100")


@pytest.mark.parametrize("benchmark", [*PAPER, *BENCHMARKS])
def test_auto_starts_each_published_network_as_published(benchmark):
    model = ModelSettings.model_validate(benchmark.model)
    assert model.zero_init_residual == (model.weights is None and has_zero_init(model.name))


def test_the_first_convolution_on_cifar_is_said_to_start_otherwise():
    found = published(settings("cifar100", "none"))
    assert found.differences.startswith("the first convolution starts with torch's default")
    weight = create_model("resnet50", 5, 32).conv1.weight
    # He et al. 2015 by the outputs; torch's default has 1 / sqrt(3 * inputs), here 0.11.
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("stem", ["auto", "small"])
def test_an_explicit_stem_is_the_same_network(stem):
    assert published(settings("cifar100", "none", f"cifar100.model.stem={stem}")) is not None


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
