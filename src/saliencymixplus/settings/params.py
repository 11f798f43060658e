"""The validated params.yaml, which resolves experiments, recipes and runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from saliencymixplus.errors import UserError, nearest
from saliencymixplus.settings.experiment import ExperimentSettings, RunSettings
from saliencymixplus.settings.faults import explain
from saliencymixplus.settings.mix import MixSettings
from saliencymixplus.settings.top import AblationSettings, TopSettings
from saliencymixplus.workspace import project_path


@dataclass(frozen=True)
class Params:
    """The validated params.yaml, with command-line overrides."""

    path: Path
    top: TopSettings
    sections: Mapping[str, ExperimentSettings]
    # Dotted key to the origin of its value: the file name, or the option that set it.
    given: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """The origin of a dotted key's value, or of the section it is in."""
        return _at_or_above(self.given, key) or "default"

    def experiment(self, name: str) -> ExperimentSettings:
        """The section of one experiment; raises ``UserError`` with the nearest name.

        The mean, std and input size of pretrained weights are used unless the section sets them.
        """
        if name not in self.sections:
            raise UserError(
                f"{self.path.name} has no experiment {name!r}: {nearest(name, self.sections)}"
            )
        section = self.sections[name]
        return section if section.model.weights is None else _with_preprocessing(section)

    def mix(self, name: str) -> MixSettings:
        """The mixing recipe ``name``: a section of ``mix:``, a method or one of its presets."""
        from saliencymixplus.mixing import METHODS, PRESETS, create
        from saliencymixplus.mixing.registry import plain_name

        if name not in self.top.mix:
            name = plain_name(name)
        section = dict(self.top.mix.get(name, {}))
        method = section.pop("method", name)
        if "switch" in section:
            return self._switch(name, section)
        if plain_name(str(method)) not in {*METHODS, *PRESETS}:
            hint = nearest(str(method), {*METHODS, *PRESETS, *self.top.mix} - {str(method)})
            raise UserError(f"there is no mixing method {method!r}: {hint}")
        try:
            mixer = create(method, **section)
            return MixSettings(name=name, method=mixer.method, options=asdict(mixer.options))
        except (TypeError, ValueError) as error:
            text = str(error)
            wrong = [k for k in section if text.startswith((f"{k}:", f"no option is called {k!r}"))]
            where = set_by(self.given, ".".join(["mix", name, *wrong])) or self.path.name
            raise UserError(f"{where}: mix.{name}: {text}") from error

    def _switch(self, name: str, section: Mapping[str, Any]) -> MixSettings:
        """The recipe ``NAME: {switch: {RECIPE: probability, …}}``."""
        from saliencymixplus.mixing import Switch

        key, chances = f"mix.{name}.switch", section["switch"]
        where = f"{set_by(self.given, key)}: {key}"
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
        return MixSettings(name=name, method=switch.method, options=asdict(switch.options))

    def ablation(self) -> AblationSettings:
        """The section ``ablation:``; raises ``UserError`` if there is none."""
        if self.top.ablation is None:
            raise UserError(f"{self.path.name} has no section `ablation`")
        return self.top.ablation

    def run_folders(self, experiment: str, mixes: Sequence[str]) -> list[Path]:
        """The pipeline's run folders of an experiment, for each recipe and seed."""
        root = project_path("runs", experiment)
        names = [self.mix(mix).name for mix in mixes]  # "CutMix" is trained as cutmix
        return [root / name / f"seed{seed}" for name in names for seed in self.top.seeds]

    def run(self, experiment: str, mix: str, seed: int) -> RunSettings:
        """The settings of one run."""
        section = self.experiment(experiment)
        try:
            return RunSettings(experiment=experiment, mix=self.mix(mix), seed=seed, **dict(section))
        except ValidationError as error:
            raise UserError(f"settings: {explain(error)}") from error


def set_by(given: Mapping[str, str], key: str) -> str:
    """What of ``Params.given`` set a dotted key or, for a section, every part of it."""
    below = dict.fromkeys(origin for k, origin in given.items() if k.startswith(f"{key}."))
    return _at_or_above(given, key) or ", ".join(below)


def _at_or_above(given: Mapping[str, str], key: str) -> str:
    while key and key not in given:
        key = key.rpartition(".")[0]
    return given.get(key, "")


def _with_preprocessing(section: ExperimentSettings) -> ExperimentSettings:
    from saliencymixplus.models.pretrained import preprocessing_of

    known = preprocessing_of(section.model.name)
    if known is None:
        return section
    data: dict[str, Any] = {}
    if section.data.mean is None:
        data |= {"mean": known.mean, "std": known.std}
    if "image_size" not in section.data.model_fields_set:
        data["image_size"] = known.input_size[0]
    return section.model_copy(update={"data": section.data.model_copy(update=data)})
