"""Findings survive a round trip; damaged ones are reported in one line."""

import pytest

from saliencymixplus.audit.audit import audit
from saliencymixplus.audit.findings import load_findings
from saliencymixplus.audit.text import audit_markdown
from saliencymixplus.errors import UserError
from tests.audit.recipes import SETTINGS, recipes


def test_findings_are_read_as_they_were_written(rectangles, tmp_path, trained):
    output = tmp_path / "audit"
    mixes = recipes("mixup", "cutmix", "saliencymixplus")
    audit(rectangles, mixes, {"saliencymixplus": [tmp_path]}, SETTINGS, output)
    assert audit_markdown(load_findings(output)) == (output / "audit.md").read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("audit.json", "[]"),
        ("audit.json", '{"mixes": {}, "differences": {}, "along_training": {}}'),
        ("audit.json", '{"mixes": {"x": {}}, "differences": {}, "along_training": {}}'),
        ("audit.json", '{"mixes": {"cutmix": {"bias": [1]}}}'),
        ("audit.json", '{"mixes": 5}'),
        ("audit.json", "{"),
        ("details.json", "{}"),
        ("details.json", '{"data": {"name": 3}}'),
    ],
)
def test_a_damaged_audit_is_one_line(rectangles, tmp_path, name, content):
    output = tmp_path / "audit"
    audit(rectangles, recipes("cutmix"), {}, SETTINGS, output)
    (output / name).write_text(content)
    with pytest.raises(UserError) as error:
        load_findings(output)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
