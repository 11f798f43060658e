"""Every key of params.yaml with values of the wrong type, out of range, and misspelt."""

import typing

import pytest
from pydantic import BaseModel

from saliencymixplus.settings import ExperimentSettings
from saliencymixplus.settings.evaluation import AuditSettings, EvaluationSettings
from saliencymixplus.settings.top import AblationSettings

PARAMS = """
digits:
  download: {source: digits}
own:
  download: {source: imagefolder, path: pictures}
ablation: {experiment: digits, methods: [none]}
"""


def keys(model: type[BaseModel], prefix: str) -> list[str]:
    """Every key below ``model`` that has a value and not a section."""
    found = []
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        sections = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        path = f"{prefix}.{name}"
        found += keys(sections[0], path) if sections else [path]
    return found


KEYS = [
    "experiments",
    "methods",
    "seeds",
    *keys(ExperimentSettings, "own"),
    *keys(EvaluationSettings, "evaluation"),
    *keys(AuditSettings, "audit"),
    *keys(AblationSettings, "ablation"),
]
# Values that no key takes, whatever its type.
WRONG = ["{a: 1}", "2026-01-01"]
RANGES = [
    ("own.data.image_size", ["7", "1025", "16.5", "true", "'16'"]),
    ("own.data.validation_fraction", ["-0.1", "0.51", ".nan", "half"]),
    ("own.data.split_seed", ["-1", "4294967296", "0.5"]),
    ("own.data.mean", ["[0.5, 0.5]", "[0.5, 0.5, -1]", "0.5", "[.inf, 0, 0]"]),
    ("own.data.std", ["[0, 1, 1]", "[1, 1]", "[1, 1, 1]"]),
    ("own.training.epochs", ["0", "-1", "1e3.5", "null"]),
    ("own.training.batch_size", ["0", "1.5"]),
    ("own.training.learning_rate", ["0", "-0.1", ".inf", ".nan", "1e", "null"]),
    ("own.training.momentum", ["-0.1", "1", "1.5"]),
    ("own.training.nesterov", ["1", "yes", "maybe"]),
    ("own.training.weight_decay", ["-1e-4", ".nan"]),
    ("own.training.milestones", ["[75, 75]", "[150, 75]", "[0]", "75", "[1.5]"]),
    ("own.training.gamma", ["0", "1.1"]),
    ("own.training.warmup_epochs", ["-1", "200", ".inf"]),
    ("own.training.mix_prob", ["-0.01", "1.01", ".nan"]),
    ("own.training.crop_padding", ["-1", "65"]),
    ("own.training.crop_size", ["7", "1025"]),
    ("own.training.crop_mode", ["wrap", "null"]),
    ("own.training.test_crop", ["whole", "null"]),
    ("own.model.zero_init_residual", ["1", "yes", "null"]),
    ("own.model.head_init", ["random", "null"]),
    ("own.training.auto_augment", ["augmix", "autoaugment"]),
    ("own.training.randaugment_magnitude", ["-1", "31", "9.5"]),
    ("own.training.random_erasing", ["1.5", "-0.1"]),
    ("own.training.repeated_augmentation", ["0", "1.5"]),
    ("own.training.weight_average", ["1", "-0.5"]),
    ("own.training.sample_epochs", ["[-1]", "1"]),
    ("evaluation.batch_size", ["0"]),
    ("evaluation.images", ["0", "1.5"]),
    ("evaluation.parts", ["[speed]", "[attacks, attacks]"]),
    ("evaluation.corruptions", ["[rain]", "[]"]),
    ("evaluation.epsilons", ["[0]", "[1, 1]"]),
    ("evaluation.occlusion_shares", ["[1]", "[0]"]),
    ("evaluation.localisation_threshold", ["0", "1"]),
    ("audit.batch_size", ["1"]),
    ("audit.split", ["all"]),
    ("seeds", ["[-1]", "[0.5]", "[4294967296]", "0"]),
    ("experiments", ["[nothing]", "digits", "[1]"]),
    ("own.download.source", ["mnist", "digits", "null"]),
    ("own.download.sha256", ["abc", "{a: 1}"]),
]
CASES = [(key, value) for key in KEYS for value in WRONG]
CASES += [(key, value) for key, values in RANGES for value in values]


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(PARAMS)
    return path


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{k}={v}" for k, v in CASES])
def test_a_wrong_value_names_its_key(refused, params, key, value):
    name = key.rpartition(".")[2]
    refused("compare", "--params", params, "--set", f"{key}={value}", culprit=name)


@pytest.mark.parametrize("key", KEYS)
def test_a_misspelt_key_is_named(refused, params, key):
    refused("compare", "--params", params, "--set", f"{key}x=1", culprit=f"{key}x")


def test_the_list_of_keys_is_complete():
    assert len(KEYS) > 40
