"""Every setting says what it means: the reference of settings is made from these texts."""

from collections.abc import Iterator

import pytest

import saliencymixplus.settings.load  # noqa: F401  (declares further sections)
from saliencymixplus.settings import schema


def _sections(base: type[schema.Section]) -> Iterator[type[schema.Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)


@pytest.mark.parametrize("section", [*_sections(schema.Section)], ids=lambda kind: kind.__name__)
def test_every_setting_has_a_description(section: type[schema.Section]) -> None:
    nested = {
        name
        for name, field in section.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, schema.Section)
    }
    missing = [
        name
        for name, field in section.model_fields.items()
        if not field.description and name not in nested
    ]
    assert not missing
