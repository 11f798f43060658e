"""Read params.yaml and the settings given on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError, nearest
from saliencymixplus.settings.data import DownloadSettings
from saliencymixplus.settings.experiment import ExperimentSettings
from saliencymixplus.settings.faults import SettingError, validate
from saliencymixplus.settings.names import check_name, distinct
from saliencymixplus.settings.params import Params, set_by
from saliencymixplus.settings.raw import apply_override, flat, read_yaml, set_value
from saliencymixplus.settings.top import TopSettings
from saliencymixplus.workspace import output_above


def load_params(
    path: Path,
    overrides: Sequence[str] = (),
    options: Mapping[str, tuple[str, object]] | None = None,
    text: str | None = None,
) -> Params:
    """Read ``path``, apply what the command line gives, and validate the result.

    Args:
        overrides: strings ``section.key=value`` with the value in YAML.
        options: dotted key to the command-line option that sets it and its value. Keys in a
            section that the file lacks are ignored.
        text: what to read instead of the file's content.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value has the wrong type
            or is out of range. The message names the key and what set it.
    """
    raw = read_yaml(path, text)
    given = {key: path.name for key, _ in flat(raw)}
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
    except SettingError as error:
        raise UserError(f"{set_by(given, error.key) or path.name}: {error}") from error


def _validated(raw: dict[str, Any], path: Path) -> Params:
    known = {*TopSettings.model_fields}
    names = [name for name in raw if name not in known]
    sections: dict[str, ExperimentSettings] = {}
    for name in names:
        section = raw.pop(name)
        if not isinstance(section, dict) or "download" not in section:
            hint = nearest(str(name), known | {str(other) for other in names} - {str(name)})
            if name in ExperimentSettings.model_fields:
                hint = f"put the experiment's name before it, such as digits.{name}"
            raise SettingError(
                str(name),
                f"neither a known key nor, without `download`, an experiment: {hint}",
            )
        try:
            check_name(str(name))
            distinct([*sections, str(name)])
        except ValueError as error:
            raise SettingError(str(name), str(error)) from error
        sections[str(name)] = validate(ExperimentSettings, section, str(name))
        _check_places(sections[str(name)].download, str(name))
    top = validate(TopSettings, raw, "")
    for name in top.experiments:
        if name not in sections:
            raise SettingError("experiments", f"no section {name!r}: {nearest(name, sections)}")
    return Params(path, top, sections)


def _check_places(download: DownloadSettings, name: str) -> None:
    """Refuse to read from a folder that DVC may empty first."""
    for key, place in (("path", download.path), ("mirror", download.mirror)):
        if place is None or "://" in place:
            continue
        if output := output_above(Path(place)):
            raise SettingError(
                f"{name}.download.{key}",
                f"{place} is inside {output}/, which belongs to the pipeline and may be deleted: "
                "move your files out of it (data/ is a good place)",
            )
