"""In a subfolder, default paths are relative to the checkout's root, as for ``train``."""

import shutil

import pytest


@pytest.fixture
def checkout(ready, tmp_path):
    """The pipeline's one run, evaluated, where the pipeline puts it."""
    place = tmp_path / "runs" / "digits" / "cutmix" / "seed0"
    shutil.copytree(ready.run, place, ignore=shutil.ignore_patterns("evaluation"))
    shutil.copytree(ready.evaluated, tmp_path / "evaluations" / "digits" / "cutmix" / "seed0")
    (tmp_path / "src").mkdir()
    return tmp_path


def test_compare_report_audit_and_preview_write_to_the_root(cli, ready, checkout, monkeypatch):
    one = ["--set", "methods=[cutmix]", "--set", "seeds=[0]"]
    data = ["--prepared", ready.prepared]
    monkeypatch.chdir(checkout / "src")
    for command in (
        ["compare", "--baseline", "cutmix", *one],
        ["audit", "--set", "audit.images=8", *one, *data],
        ["report", "--tracker", "none", *one],
        ["preview", "--mix-aug", "cutmix", *data],
    ):
        outcome = cli(*command)
        assert outcome.code == 0, outcome.err
    assert not any((checkout / "src").iterdir())
    for file in ("reports/digits/comparison.json", "audits/digits/audit.json", "preview.png"):
        assert (checkout / file).is_file()
    assert (checkout / "reports/digits/report.html").is_file()
