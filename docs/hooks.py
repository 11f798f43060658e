"""Pages of the site that are made from something else when it is built.

README.md is the home page; CONTRIBUTING.md, CHANGELOG.md, the recorded results and the notebook
become pages too. Lines such as ``<!-- reference: settings -->`` are replaced by what the code says
of itself.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "reports/clutter/comparison.md": "results.md",
}
NOTEBOOK = "examples/own_loop.ipynb"
BIG = 10**9  # a bound from here on is a guard, and of no interest to a reader


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/; their links into docs/ become relative to it."""
    for source, page in COPIED.items():
        text = (ROOT / source).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "notebook.md", content=_cells(ROOT / NOTEBOOK)))
    return files


def _cells(notebook: Path) -> str:
    """A notebook's cells, without outputs, as Markdown."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    return "\n\n".join(
        f"```python\n{text}\n```" if cell["cell_type"] == "code" else text
        for cell, text in zip(cells, texts, strict=True)
    )


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links to those pages at the site's copies, and fill in the references."""
    for source, page in {**COPIED, NOTEBOOK: "notebook.md"}.items():
        markdown = re.sub(rf"\]\((\.\./)*{source}", f"]({page}", markdown)
    return re.sub(
        r"^<!-- reference: (\w+) -->$", lambda found: REFERENCES[found[1]](), markdown, flags=re.M
    )


def settings() -> str:
    """A table of every section of params.yaml, from the schema that validates it."""
    from saliencymixplus.settings import ExperimentSettings
    from saliencymixplus.settings.top import TopSettings

    lines = [
        *_section_tables("Top level", TopSettings.model_json_schema(), ""),
        *_section_tables("An experiment", ExperimentSettings.model_json_schema(), "NAME."),
    ]
    return "\n".join(lines)


def _section_tables(title: str, schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Markdown of a section, followed by that of the sections in it."""
    definitions = schema.get("$defs", {})
    pending = [(title, schema, prefix)]
    while pending:
        title, section, prefix = pending.pop(0)
        rows = []
        for name, field in section["properties"].items():
            if inner := _definition(field, definitions):
                key = f"{prefix}{name}"
                pending.append((f"`{key}`", inner, f"{key}."))
                continue
            default = "required" if name in section.get("required", ()) else _value(field)
            meaning = " ".join(field["description"].split()).replace("``", "`")
            rows.append(f"| `{name}` | {_kind(field)} | {default} | {meaning} |")
        if rows:
            summary = section["description"].splitlines()[0].replace("``", "`")
            yield from (f"## {title}", "", summary, "")
            yield from (
                "| Key | Values | Default | Meaning |",
                "| --- | --- | --- | --- |",
                *rows,
                "",
            )


def _definition(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    options = [field, *field.get("anyOf", ()), *field.get("allOf", ())]
    found = [option["$ref"].rpartition("/")[2] for option in options if "$ref" in option]
    return definitions[found[0]] if found else None


def _value(field: Mapping[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`"


def _kind(field: Mapping[str, Any]) -> str:
    """Type and range in words."""
    if "anyOf" in field:
        return ", or ".join(_kind(option) for option in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = {
        "integer": "integer",
        "number": "number",
        "boolean": "`true`, `false`",
        "string": "text",
        "null": "`null`",
        "object": "mapping",
        "array": "list",
    }[field["type"]]
    if field["type"] == "array":
        inner = field.get("items") or field.get("prefixItems", [{}])[0]
        count = f"{field['maxItems']} × " if "maxItems" in field else ""
        return f"list of {count}{_kind(inner)}" if inner else kind
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]:g}" for key, sign in bounds.items() if field.get(key, BIG) < BIG]
    return " ".join([kind, ", ".join(limits)]).strip()


def commands() -> str:
    """Every command with its arguments and options, from typer."""
    import typer
    from typer.cli import get_docs_for_click

    from saliencymixplus.commands.app import app

    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="python cli.py")
    text = get_docs_for_click(obj=group, ctx=context, name="python cli.py")
    return text[text.index("## `python cli.py ") :]


def methods() -> str:
    """The options of every mixing method, by mkdocstrings."""
    from saliencymixplus.mixing import METHODS

    options = (method.options for method in METHODS.values())
    return "\n\n".join(
        f"::: {kind.__module__}.{kind.__name__}\n    options: {{members: false}}"
        for kind in options
    )


REFERENCES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "methods": methods,
}
