"""Reading params.yaml and ``--set`` overrides into validated settings."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from saliencymixplus.errors import UserError, nearest
from saliencymixplus.settings.evaluation import AuditSettings, EvaluationSettings
from saliencymixplus.settings.schema import (
    ExperimentSettings,
    MixSettings,
    RunSettings,
    Section,
    Seed,
)

Model = TypeVar("Model", bound=BaseModel)


def _once(values: tuple[object, ...]) -> tuple[object, ...]:
    doubles = [value for value in values if values.count(value) > 1]
    if doubles:
        raise ValueError(f"{doubles[0]!r} is there twice")
    return values


Methods = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_once)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_once)]


class AblationSettings(Section):
    """``ablation:`` in params.yaml: which recipes are compared on which experiment."""

    experiment: str
    methods: Methods
    seeds: Seeds = (0,)


class _Top(Section):
    """The keys of params.yaml that are no experiment."""

    experiments: Annotated[tuple[str, ...], AfterValidator(_once)] = ()
    methods: Methods = ("none", "cutmix", "saliencymix", "saliencymixplus")
    seeds: Seeds = (0,)
    mix: dict[str, dict[str, Any]] = {}
    evaluation: EvaluationSettings = EvaluationSettings()
    audit: AuditSettings = AuditSettings()
    ablation: AblationSettings | None = None


@dataclass(frozen=True)
class Params:
    """params.yaml after overrides, validated."""

    path: Path
    top: _Top
    sections: Mapping[str, ExperimentSettings]

    def experiment(self, name: str) -> ExperimentSettings:
        """The section of one experiment; raises ``UserError`` with the nearest name."""
        if name not in self.sections:
            raise UserError(
                f"{self.path.name} has no experiment {name!r}: {nearest(name, self.sections)}"
            )
        return self.sections[name]

    def mix(self, name: str) -> MixSettings:
        """The mixing recipe ``name``: a section of ``mix:``, or a method with its defaults."""
        from saliencymixplus.mixing import METHODS, resolve_options

        section = dict(self.top.mix.get(name, {}))
        method = section.pop("method", name)
        if not isinstance(method, str) or method not in METHODS:
            known = {*METHODS, *self.top.mix}
            raise UserError(f"no mixing method is called {method!r}: {nearest(str(method), known)}")
        try:
            return MixSettings(name=name, method=method, options=resolve_options(method, section))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.path.name}: mix.{name}: {error}") from error

    def run_folders(self, experiment: str, mixes: Sequence[str]) -> list[Path]:
        """Where the pipeline's runs of an experiment are: one a mixing recipe and seed."""
        root = Path("runs") / experiment
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


def load_params(path: Path, overrides: Sequence[str] = ()) -> Params:
    """Read ``path`` and apply ``overrides`` of the form ``section.key=value`` (YAML values).

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, a value of a wrong type or
            out of range; the message names the key.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _apply(raw, override)
    known = {*_Top.model_fields}
    sections: dict[str, ExperimentSettings] = {}
    for name in [name for name in raw if name not in known]:
        section = raw.pop(name)
        if not isinstance(section, dict) or "download" not in section:
            hint = nearest(str(name), {*known, *sections})
            raise UserError(
                f"{path.name}: {name!r} is no known key and, lacking `download`, "
                f"no experiment: {hint}"
            )
        sections[str(name)] = _validate(ExperimentSettings, section, path, str(name))
    top = _validate(_Top, raw, path, "")
    for name in top.experiments:
        if name not in sections:
            raise UserError(
                f"{path.name}: experiments: no section {name!r}: {nearest(name, sections)}"
            )
    return Params(path, top, sections)


def digest_of(run: RunSettings, data_digest: str) -> str:
    """16 hexadecimal digits that differ between any two runs that compute different weights.

    ``data_digest`` is that of the prepared arrays; it stands for where they came from.
    """
    content = run.model_dump(mode="json", exclude={"download", "data"}) | {"data": data_digest}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def explain(error: ValidationError, where: str) -> str:
    """One line for the first fault that pydantic found."""
    faults = error.errors()
    first = faults[0]
    key = ".".join(str(part) for part in first["loc"]) or where
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "too_short":
        message = "empty: name at least one"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        message += f", not {first['input']!r}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{where}: {key}: {message}{more}"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        # YAML 1.2, as DVC reads it: 5e-4 is a number and `no` a word.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: run from the repository, or give --params"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    return content


def _apply(raw: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.split(".")
    if not separator or not all(parts):
        raise UserError(f"--set {override!r}: write section.key=value")
    try:
        value = YAML(typ="safe", pure=True).load(text) if text else None
    except (YAMLError, ValueError) as error:
        raise UserError(f"--set {override!r}: the value is no valid YAML") from error
    folder = raw
    for part in parts[:-1]:
        folder = folder.setdefault(part, {})
        if not isinstance(folder, dict):
            raise UserError(f"--set {override!r}: {part!r} is a value, not a section")
    folder[parts[-1]] = value


def _validate(model: type[Model], content: object, path: Path, name: str) -> Model:
    """Validate as JSON: strict about types, but a list is a tuple and 1 a fine float."""
    try:
        return model.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        text = explain(error, path.name)
        head, _, tail = text.partition(": ")
        raise UserError(f"{head}: {name}.{tail}" if name else text) from error
    except TypeError as error:  # a YAML date or set has no JSON form
        key, value = _without_json(content, name)
        raise UserError(
            f"{path.name}: {key}: {value!r} is of a type that no setting has"
        ) from error
    except ValueError as error:
        raise UserError(f"{path.name}: {name or 'the file'}: {error}") from error


def _without_json(content: object, key: str) -> tuple[str, object]:
    """The first value in ``content`` that is neither text nor number, and its dotted key."""
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
