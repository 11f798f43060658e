"""Small output folders, and what is in them."""

from pathlib import Path

from saliencymixplus.outputs import Output

RUN = Output(marks={"settings.json": "old"}, files=("settings.json", "old.txt", "weights/*.pt"))


def fill(folder: Path, **content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name).write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.*")}
