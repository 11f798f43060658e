"""A mixing recipe: a method and its options, or a switch between several."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from saliencymixplus.settings.names import Name
from saliencymixplus.settings.section import Section


class SwitchMember(BaseModel):
    """One of the recipes of a switch; its other keys are the method's options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    probability: Annotated[float, Field(gt=0, le=1)]
    method: str


class MixSettings(Section):
    """A mixing recipe: a registered method and all its options, resolved.

    ``method: switch`` draws one of several recipes for each batch; its only option ``members``
    maps their names to ``SwitchMember``.
    """

    name: Name
    """Name in runs and tables: the method's, unless params.yaml gives another."""
    method: str
    """Name of the registered method."""
    options: dict[str, Any] = {}
    """Every option of the method."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "switch":
            TypeAdapter(dict[Name, SwitchMember]).validate_python(self.options.get("members"))
        return self

    @property
    def members(self) -> tuple[tuple[float, "MixSettings"], ...]:
        """Probability and recipe of each member of a switch; other recipes are their own member."""
        if self.method != "switch":
            return ((1.0, self),)
        found = []
        for name, member in self.options["members"].items():
            options = {k: v for k, v in member.items() if k not in ("probability", "method")}
            recipe = MixSettings(name=name, method=member["method"], options=options)
            found.append((member["probability"], recipe))
        return tuple(found)

    @property
    def flat_options(self) -> dict[str, Any]:
        """The options, with those of a switch's members as ``MEMBER.OPTION``."""
        if self.method != "switch":
            return self.options
        members = self.options["members"].items()
        return {f"{name}.{key}": value for name, own in members for key, value in own.items()}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the recipe uses."""
        return tuple(sorted({recipe.method for _, recipe in self.members}))
