"""Every command in the README and in docs/ is run word for word, or the page says why it is not.

A block that is not run has a line before it: ``<!-- not run: reason -->``.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import TensorDataset

from tests.archives import encoded, zipped
from tests.helpers import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
FENCE = re.compile(
    r"(?m)^(?:<!-- not run: (?P<reason>.+?) -->\n\n?)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.S,
)
WAITING = ("Queued", "Running")
SHELLS = ("sh", "bash", "console", "shell")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    where: str
    language: str
    text: str
    reason: str | None  # why it is not run


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        where = f"{page.relative_to(REPOSITORY)}:{line}"
        yield Block(where, match["language"], match["text"], match["reason"])


def runnable(page: Path, *languages: str) -> list[Block]:
    return [b for b in blocks(page) if b.language in languages and b.reason is None]


def test_the_pages_are_read_whole() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"(?m)^```\w+$", text)) == len([*blocks(page)])
        assert text.count("<!-- not run:") == sum(b.reason is not None for b in blocks(page))
    assert runnable(PAGES[0], *SHELLS)


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(page: Path) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    model = nn.Sequential(*layers)
    images, labels = torch.rand(8, 3, 16, 16), torch.arange(8) % 3
    for block in runnable(page, "python"):
        names = {
            "model": model,
            "optimizer": torch.optim.SGD(model.parameters(), 0.1),
            "images": images,
            "labels": labels,
            "loader": [(images, labels)],
            "dataset": TensorDataset(images, labels),
            "DataLoader": torch.utils.data.DataLoader,
            "num_classes": 3,
        }
        before = [p.detach().clone() for p in model.parameters()]
        exec(compile(block.text, block.where, "exec"), names)
        if "mixed" in names:
            assert torch.isfinite(names["mixed"].loss(model(names["mixed"].images)))
        if "optimizer.step" in block.text:
            assert any((p != q).any() for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p, *SHELLS)], ids=lambda p: p.name)
def test_shell_blocks_run(page: Path, new_clone: Callable[..., Any], small: dict[str, Any]) -> None:
    """In the order of the page, in one clone whose experiments are made short."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    sections = {
        name: {"training": small["digits"]["training"]}
        for name, section in params.items()
        if isinstance(section, dict)
        and section.get("download", {}).get("source") in ("digits", "clutter")
    }
    clone = new_clone(**sections | small | {"methods": ["saliencymixplus"]})
    for block in blocks(page):
        if block.language == "yaml" and "imagefolder" in block.text:
            _add_own_pictures(clone, yaml.safe_load(block.text))
    for block in runnable(page, *SHELLS):
        print(f"{block.where}:\n{block.text}")
        clone.run("bash", "-euo", "pipefail", "-c", block.text)
        if "dvc queue start" in block.text:  # which returns at once
            _wait_for_queue(clone)


def _wait_for_queue(clone: Any) -> None:
    deadline = time.monotonic() + 600
    while any(state in (said := clone.run("dvc", "queue", "status")) for state in WAITING):
        assert time.monotonic() < deadline, said
        time.sleep(5)
    assert "Success" in said
    assert "Failed" not in said


def _add_own_pictures(clone: Any, sections: dict[str, Any]) -> None:
    """Add the page's experiments, for one epoch on a few pictures in place of the user's.

    Weights that their publisher would have to send are random instead.
    """
    rng = np.random.default_rng(0)

    def picture() -> bytes:
        return encoded(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), "JPEG")

    for name, section in sections.items():
        splits = [""] if "test_fraction" in section["data"] else ["train/", "test/"]
        archive = clone.folder / "data" / f"{name}.zip"
        archive.parent.mkdir(exist_ok=True)
        names = [f"{s}{c}/{i}.jpg" for s in splits for c in ("a", "b") for i in range(20)]
        archive.write_bytes(zipped({path: picture() for path in names}))
        section["download"]["path"] = f"data/{archive.name}"
        section["training"] |= {"epochs": 1, "warmup_epochs": 0}
        if section["model"].get("weights") == "pretrained":
            del section["model"]["weights"]
        clone.params(**{name: section})
    new = clone.folder / "new_photos"
    new.mkdir(exist_ok=True)
    (new / "one.jpg").write_bytes(picture())
    clone.commit()
