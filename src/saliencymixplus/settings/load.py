"""Reading params.yaml and the command line's settings into validated ones."""

import hashlib
import json
import reprlib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from saliencymixplus.errors import UserError, nearest
from saliencymixplus.settings.evaluation import AuditSettings, EvaluationSettings
from saliencymixplus.settings.names import Name, check_name
from saliencymixplus.settings.raw import apply_override, read_yaml, set_value
from saliencymixplus.settings.schema import (
    Count,
    DownloadSettings,
    ExperimentSettings,
    MixSettings,
    RunSettings,
    Section,
    Seed,
)
from saliencymixplus.workspace import output_above, project_path

Model = TypeVar("Model", bound=BaseModel)


def _once(values: tuple[object, ...]) -> tuple[object, ...]:
    doubles = [value for value in values if values.count(value) > 1]
    if doubles:
        raise ValueError(f"{doubles[0]!r} is listed twice")
    return values


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
    """Name of the section to start from; its source is ``clutter``."""
    object_sizes: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_once)]
    """Values of ``clutter.object_size``."""
    train_digits: Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_once)]
    """Values of ``clutter.train_digits``."""
    images_seen: Count | None = None
    """Train for about this many images whatever ``train_digits`` is; null: ``training.epochs``."""
    methods: Methods
    """Recipes to train in each cell."""
    seeds: Seeds = (0,)
    """Each recipe is trained with every seed."""


class _Top(Section):
    """The keys of params.yaml that are not experiments."""

    experiments: Annotated[tuple[str, ...], AfterValidator(_once)] = ()
    """Experiments that ``dvc repro`` runs."""
    methods: Methods = ("none", "cutmix", "saliencymix", "saliencymixplus")
    """Methods or recipes that it trains on each."""
    seeds: Seeds = (0,)
    """Each method is trained with every seed."""
    mix: dict[Name, dict[str, Any]] = {}
    """Options by recipe name; ``method`` names the method unless it is the name itself."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """What is measured of each run."""
    audit: AuditSettings = AuditSettings()
    """How mixed labels are audited."""
    ablation: AblationSettings | None = None
    """Which recipes ``dvc --cd ablation repro`` compares."""
    study: StudySettings | None = None
    """Which recipes ``dvc --cd study repro`` compares, on which data."""


@dataclass(frozen=True)
class Params:
    """params.yaml with what the command line overrides, validated."""

    path: Path
    top: _Top
    sections: Mapping[str, ExperimentSettings]
    # Dotted key to where its value comes from: the file's name, or the option that set it.
    given: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """Where the value of a dotted key, or of the section it is in, comes from."""
        while key:
            if key in self.given:
                return self.given[key]
            key = key.rpartition(".")[0]
        return "default"

    def experiment(self, name: str) -> ExperimentSettings:
        """The section of one experiment; raises ``UserError`` with the nearest name.

        Pretrained weights bring their mean, std and input size, unless the section sets them.
        """
        if name not in self.sections:
            raise UserError(
                f"{self.path.name} has no experiment {name!r}: {nearest(name, self.sections)}"
            )
        section = self.sections[name]
        return section if section.model.weights is None else _with_preprocessing(section)

    def mix(self, name: str) -> MixSettings:
        """The mixing recipe ``name``: a section of ``mix:``, a method or one of its presets.

        Raises:
            UserError: an unknown method, option or value, or a switch that cannot be.
        """
        from saliencymixplus.mixing import METHODS, PRESETS, create
        from saliencymixplus.mixing.options import as_json
        from saliencymixplus.mixing.registry import plain_name

        if name not in self.top.mix:
            name = plain_name(name)
        section = dict(self.top.mix.get(name, {}))
        method = section.pop("method", name)
        if "switch" in section:
            return self._switch(name, section)
        if plain_name(str(method)) not in {*METHODS, *PRESETS}:
            hint = nearest(str(method), {*METHODS, *PRESETS, *self.top.mix})
            raise UserError(f"there is no mixing method {method!r}: {hint}")
        try:
            mixer = create(method, **section)
            return MixSettings(name=name, method=mixer.method, options=as_json(mixer.options))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.path.name}: mix.{name}: {error}") from error

    def _switch(self, name: str, section: Mapping[str, Any]) -> MixSettings:
        """The recipe ``NAME: {switch: {RECIPE: probability, …}}``."""
        from saliencymixplus.mixing import Switch
        from saliencymixplus.mixing.options import as_json

        where, chances = f"{self.path.name}: mix.{name}.switch", section["switch"]
        if other := sorted(section.keys() - {"switch"}):
            raise UserError(f"{where}: {other[0]!r} is an option of a member: set it in its recipe")
        if not isinstance(chances, dict):
            raise UserError(f"{where}: give probabilities by recipe: {{cutmix: 0.5, mixup: 0.5}}")
        members: dict[str, dict[str, Any]] = {}
        for member, probability in chances.items():
            if "switch" in self.top.mix.get(member, {}):
                raise UserError(f"{where}: {member!r} is a switch itself: name its members instead")
            recipe = self.mix(str(member))
            members[recipe.name] = {
                "probability": probability,
                "method": recipe.method,
                **recipe.options,
            }
        try:
            switch = Switch(members)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
        return MixSettings(name=name, method=switch.method, options=as_json(switch.options))

    def ablation(self) -> AblationSettings:
        """The section ``ablation:``; raises ``UserError`` if there is none."""
        if self.top.ablation is None:
            raise UserError(f"{self.path.name} has no section `ablation`")
        return self.top.ablation

    def run_folders(self, experiment: str, mixes: Sequence[str]) -> list[Path]:
        """The folders of the pipeline's runs of an experiment: each recipe with each seed."""
        root = project_path("runs", experiment)
        return [root / mix / f"seed{seed}" for mix in mixes for seed in self.top.seeds]

    def run(self, experiment: str, mix: str, seed: int) -> RunSettings:
        """The settings of one training."""
        section = self.experiment(experiment)
        try:
            return RunSettings(
                experiment=experiment,
                download=section.download,
                data=section.data,
                model=section.model,
                training=section.training,
                mix=self.mix(mix),
                seed=seed,
            )
        except ValidationError as error:
            raise UserError(explain(error, "settings")) from error


def load_params(
    path: Path,
    overrides: Sequence[str] = (),
    options: Mapping[str, tuple[str, object]] | None = None,
) -> Params:
    """Read ``path``, apply what the command line gives, and validate the result.

    Args:
        path: The YAML file.
        overrides: ``section.key=value`` each, the value in YAML.
        options: Dotted key to the command-line option that sets it, and its value. Keys of a
            section that the file lacks are left out.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value has a wrong type
            or is out of range. The message names the key, after the option that set it.
    """
    raw = read_yaml(path)
    given = dict.fromkeys(_leaves(raw), path.name)
    for override in overrides:
        key = apply_override(raw, override)
        # A section that is set whole hides what the file has below it.
        given = {k: v for k, v in given.items() if not k.startswith(f"{key}.")} | {key: "--set"}
    options = {key: o for key, o in (options or {}).items() if key.partition(".")[0] in raw}
    for key, (option, value) in options.items():
        set_value(raw, key.split("."), value, option)
        given[key] = option
    try:
        return replace(_validated(raw, path), given=given)
    except _SettingError as error:
        option, _ = options.get(error.key, (path.name, None))
        raise UserError(f"{option}: {error}") from error


def _leaves(section: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values that are not sections themselves."""
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _with_preprocessing(section: ExperimentSettings) -> ExperimentSettings:
    from saliencymixplus.models.weights import preprocessing_of

    known = preprocessing_of(section.model.name)
    if known is None:
        return section
    data: dict[str, Any] = {}
    if section.data.mean is None:
        data |= {"mean": known.mean, "std": known.std}
    if "image_size" not in section.data.model_fields_set:
        data["image_size"] = known.input_size[0]
    return section.model_copy(update={"data": section.data.model_copy(update=data)})


def settings_digest(run: RunSettings, data_digest: str) -> str:
    """16 hexadecimal digits that differ between any two runs that compute different weights.

    ``data_digest`` is that of the prepared arrays and stands for where they came from. A file of
    weights counts by its content.
    """
    content = run.model_dump(mode="json", exclude={"download", "data"}) | {"data": data_digest}
    if run.model.weights is not None:
        from saliencymixplus.models.weights import fingerprint

        content["model"]["weights"] = fingerprint(run.model.weights)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def explain(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> str:
    """One line for the first fault that pydantic found; ``model`` allows a hint for its keys."""
    key, message = _first_fault(error, model)
    return f"{where}: {key or where}: {message}"


# What is wrong may be a megabyte long.
_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = 80


class _SettingError(Exception):
    """A setting that is wrong, before it is known who set it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key


def _validated(raw: dict[str, Any], path: Path) -> Params:
    known = {*_Top.model_fields}
    names = [name for name in raw if name not in known]
    sections: dict[str, ExperimentSettings] = {}
    for name in names:
        section = raw.pop(name)
        if not isinstance(section, dict) or "download" not in section:
            hint = nearest(str(name), known | {str(other) for other in names} - {str(name)})
            raise _SettingError(
                "",
                f"{name!r} is neither a known key nor, without `download`, an experiment: {hint}",
            )
        try:
            check_name(str(name))
        except ValueError as error:
            raise _SettingError(repr(name), str(error)) from error
        sections[str(name)] = _validate(ExperimentSettings, section, str(name))
        _check_places(sections[str(name)].download, str(name))
    top = _validate(_Top, raw, "")
    for name in top.experiments:
        if name not in sections:
            raise _SettingError("experiments", f"no section {name!r}: {nearest(name, sections)}")
    return Params(path, top, sections)


def _check_places(download: DownloadSettings, name: str) -> None:
    """Refuse to read from a folder whose content DVC may delete first."""
    for key, place in (("path", download.path), ("mirror", download.mirror)):
        if place is None or "://" in place:
            continue
        if output := output_above(Path(place)):
            raise _SettingError(
                f"{name}.download.{key}",
                f"{place} is inside {output}/, which belongs to the pipeline and may be deleted: "
                "move your files out of it (data/ is a good place)",
            )


def _validate(model: type[Model], content: object, name: str) -> Model:
    """Validate as JSON: strict about types, but a list is a tuple and 1 a fine float."""
    try:
        return model.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        key, message = _first_fault(error, model)
        raise _SettingError(".".join(filter(None, (name, key))), message) from error
    except TypeError as error:  # a YAML date or set has no JSON form
        key, value = _without_json(content, name)
        raise _SettingError(key, f"{value!r} is of a type that no setting has") from error
    except ValueError as error:
        raise _SettingError(name or "the file", str(error)) from error


def _first_fault(error: ValidationError, model: type[BaseModel] | None) -> tuple[str, str]:
    """The dotted key of the first fault, "" for the whole, and what is wrong with it."""
    faults = error.errors()
    first = faults[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        *parents, key = map(str, first["loc"])
        message = "unknown key"
        if known := _keys(model, parents):
            message += f", {nearest(key, known)}"
    elif first["type"] == "too_short":
        message = "empty: name at least one"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        message += f", not {_shortened.repr(first['input'])}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ".".join(str(part) for part in first["loc"] if part != "[key]"), message + more


def _keys(model: type[BaseModel] | None, parents: Iterable[str]) -> set[str]:
    """The keys of the section at ``parents`` below ``model``."""
    for parent in parents:
        field = model.model_fields.get(parent) if model else None
        kinds = [field.annotation, *typing.get_args(field.annotation)] if field else []
        sections = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        model = sections[0] if sections else None
    return {*model.model_fields} if model else set()


def _without_json(content: object, key: str) -> tuple[str, object]:
    """The first value in ``content`` that has no JSON form, and its dotted key."""
    items: Iterable[tuple[object, object]] = ()
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    elif content is not None and not isinstance(content, str | int | float):
        return key, content
    for name, value in items:
        found = _without_json(value, f"{key}.{name}" if key else str(name))
        if found[0]:
            return found
    return "", None
