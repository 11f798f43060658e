"""The page runs and loads nothing but its own script, and escapes every text."""

import base64
import hashlib
import json
import re

import pytest
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.reporting.document import Fold, Picture, Playground, to_markdown
from saliencymixplus.reporting.page import html_page
from saliencymixplus.tables import Column, Table


def test_the_policy_allows_the_pages_own_script_and_style_only(tmp_path):
    page = html_page(["# A title"], tmp_path, "title")
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found
    for name in ("script", "style"):
        (content,) = re.findall(rf"<{name}>(.*?)</{name}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in found[1]
    rest = re.sub(r"'sha256-[^']*'", "…", found[1])
    assert rest == (
        "default-src 'none'; img-src data:; style-src …; script-src …; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page)


def test_a_picture_outside_the_report_is_refused(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "secret.png")
    folder = tmp_path / "report"
    folder.mkdir()
    for address in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(UserError, match="outside"):
            html_page([Picture(address, "a name")], folder, "title")
    for address in ("../secret.png", "%2e%2e/secret.png"):  # in text it stays text
        page = html_page([f"![a name]({address})"], folder, "title")
        assert "data:image" not in page
        assert "a name" in page


def test_a_picture_may_have_any_letters_in_its_name(tmp_path):
    for name in ("étoile 1.png", "plain.png"):
        Image.new("RGB", (20, 10), "red").save(tmp_path / name)
        assert "data:image/png" in html_page([Picture(name, "a")], tmp_path, "title")


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no\.png"):
        html_page([Picture("no.png", "x")], tmp_path, "title")


def test_headings_are_linked_once_each(tmp_path):
    blocks = ["# A", "## One", "## One\n\n### Deeper", "## \\*One\\* <b>"]
    page = html_page(blocks, tmp_path, "<A>")
    assert re.findall(r'<li><a href="#([^"]+)"', page) == ["one", "one-2", "one-b"]
    assert re.findall(r'<h2 id="([^"]+)"', page) == ["one", "one-2", "one-b"]
    assert "*One* &lt;b&gt;</a>" in page
    assert "<title>&lt;A&gt;</title>" in page


def test_a_table_brings_its_csv_and_latex(tmp_path):
    table = Table([Column("</script>", "left")], [["</script><script>"]], "T")
    page = html_page([table], tmp_path, "title")
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    found = json.loads(data)
    assert found == {"csv": table.csv(), "latex": table.latex(), "name": "t"}
    assert page.count("<script>") == 1


def test_blocks_as_markdown():
    table = Table([Column("a", "left")], [["1"]], "T")
    blocks = [
        "# A",
        table,
        Picture("p.png", "a [b](c)"),
        Fold("More", ["text"]),
        Playground("", {}),
    ]
    assert to_markdown(blocks) == (
        "# A\n\n**T**\n\n| a |\n| --- |\n| 1 |\n\n![a [b]\\(c)](<p.png>)\n\n**More**\n\ntext\n\n"
        "Open report.html to mix two images by hand.\n"
    )
