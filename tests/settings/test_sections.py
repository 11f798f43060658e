"""Every setting is documented: the settings reference is generated from these texts."""

from collections.abc import Iterator

import pytest

import saliencymixplus.settings  # noqa: F401  (declares the sections)
from saliencymixplus.settings.section import Section


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)


@pytest.mark.parametrize("section", [*_sections(Section)], ids=lambda kind: kind.__name__)
def test_every_setting_has_a_description(section: type[Section]) -> None:
    nested = {
        name
        for name, field in section.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    missing = [
        name
        for name, field in section.model_fields.items()
        if not field.description and name not in nested
    ]
    assert not missing
