"""The keys of params.yaml that are not experiments."""

from typing import Annotated, Any

from pydantic import Field, JsonValue

from saliencymixplus.settings.evaluation import AuditSettings, EvaluationSettings
from saliencymixplus.settings.names import Distinct, Name
from saliencymixplus.settings.section import Count, Section, Seed

Methods = Annotated[tuple[str, ...], Field(min_length=1), Distinct]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), Distinct]


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
    object_sizes: Annotated[tuple[int, ...], Field(min_length=1), Distinct]
    """Values of ``clutter.object_size``."""
    train_digits: Annotated[tuple[int, ...], Field(min_length=1), Distinct]
    """Values of ``clutter.train_digits``."""
    images_seen: Count | None = None
    """Train on about this many images, whatever ``train_digits`` is; null: ``training.epochs``."""
    methods: Methods
    """Recipes to train in each cell."""
    seeds: Seeds = (0,)
    """Each recipe is trained with every seed."""


class TopSettings(Section):
    """The keys of params.yaml that are not experiments."""

    experiments: Annotated[tuple[str, ...], Distinct] = ()
    """Experiments that ``dvc repro`` runs."""
    methods: Methods = ("none", "cutmix", "saliencymix", "saliencymixplus")
    """Methods or recipes to train on each."""
    seeds: Seeds = (0,)
    """Each method is trained with every seed."""
    mix: Annotated[dict[Name, dict[str, Any]], Distinct] = {}
    """Options by recipe name; ``method`` names the method unless it is the name itself."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Measures of each run."""
    audit: AuditSettings = AuditSettings()
    """Audit of mixed labels."""
    ablation: AblationSettings | None = None
    """Recipes that ``dvc --cd ablation repro`` compares."""
    study: StudySettings | None = None
    """Recipes that ``dvc --cd study repro`` compares, and their data."""
