"""The keys of params.yaml that are not experiments."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

from saliencymixplus.settings.evaluation import AuditSettings, EvaluationSettings
from saliencymixplus.settings.names import Name, check_case
from saliencymixplus.settings.section import Count, Section, Seed


def _once(values: tuple[object, ...]) -> tuple[object, ...]:
    doubles = [value for value in values if values.count(value) > 1]
    if doubles:
        raise ValueError(f"{doubles[0]!r} is listed twice")
    check_case(value for value in values if isinstance(value, str))
    return values


def _distinct(recipes: dict[str, Any]) -> dict[str, Any]:
    check_case(recipes)
    return recipes


Methods = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_once)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_once)]


class AblationSettings(Section):
    """``ablation:`` in params.yaml, run by ``dvc --cd ablation repro``."""

    experiment: str
    """Name of an experiment's section."""
    methods: Methods
    """Recipes to compare."""
    seeds: Seeds = (0,)
    """Each recipe is trained with every seed."""


class StudySettings(Section):
    """``study:`` in params.yaml, run by ``dvc --cd study repro``."""

    experiment: str
    """Name of the base section, whose source is ``clutter``."""
    settings: dict[str, JsonValue] = {}
    """Settings of that section to change, by their dotted keys, as with ``--set``."""
    object_sizes: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_once)]
    """Values of ``clutter.object_size``."""
    train_digits: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_once)]
    """Values of ``clutter.train_digits``."""
    images_seen: Count | None = None
    """Train on about this many images, whatever ``train_digits`` is; null: ``training.epochs``."""
    methods: Methods
    """Recipes to train in each cell."""
    seeds: Seeds = (0,)
    """Each recipe is trained with every seed."""


class TopSettings(Section):
    """The keys of params.yaml that are not experiments."""

    experiments: Annotated[tuple[str, ...], AfterValidator(_once)] = ()
    """Experiments that ``dvc repro`` runs."""
    methods: Methods = ("none", "cutmix", "saliencymix", "saliencymixplus")
    """Methods or recipes to train on each."""
    seeds: Seeds = (0,)
    """Each method is trained with every seed."""
    mix: Annotated[dict[Name, dict[str, Any]], AfterValidator(_distinct)] = {}
    """Options by recipe name; ``method`` names the method unless it is the name itself."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Measures of each run."""
    audit: AuditSettings = AuditSettings()
    """Audit of mixed labels."""
    ablation: AblationSettings | None = None
    """Recipes that ``dvc --cd ablation repro`` compares."""
    study: StudySettings | None = None
    """Recipes that ``dvc --cd study repro`` compares, and their data."""
