"""No DVC command ever deletes the user's pictures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.settings import load_params
from saliencymixplus.workspace import OUTPUTS
from tests.helpers import REPOSITORY

PLACES = ["data/birds", "downloads/birds", "prepared/birds"]
IN_OUTPUTS = ["pipeline/downloads/digits", "pipeline/archives/mine", "pipeline/prepared/digits"]


def test_every_output_of_the_pipeline_lies_in_a_known_folder() -> None:
    for file in (REPOSITORY / "data.dvc", REPOSITORY / "dvc.yaml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for stage in content.get("stages", {"": content}).values():
            for out in (*stage["outs"], *stage.get("metrics", ()), *stage.get("plots", ())):
                path = out.get("path", next(iter(out))) if isinstance(out, dict) else out
                assert Path(path).parts[0] in OUTPUTS, path


@pytest.mark.parametrize("key", ["path", "mirror"])
@pytest.mark.parametrize("place", ["pipeline/downloads/birds", "./runs", "runs/../audits/x"])
def test_pictures_inside_an_output_are_refused(
    key: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = "imagefolder" if key == "path" else "cifar10"
    section = f"birds: {{download: {{source: {source}, {key}: {place}}}}}\n"
    Path("params.yaml").write_text(section)
    Path("dvc.yaml").write_text("{}\n")
    with pytest.raises(UserError, match=rf"birds.download.{key}: {place} is inside \w+/"):
        load_params(Path("params.yaml"))
    Path("below").mkdir()
    monkeypatch.chdir("below")  # counted from the repository, too
    with pytest.raises(UserError, match=r"is inside \w+/"):
        load_params(Path("../params.yaml"))
    Path("../params.yaml").write_text(section.replace(place, "data/birds"))
    assert "birds" in load_params(Path("../params.yaml")).sections


def test_a_link_into_an_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("b: {download: {source: imagefolder, path: pictures}}\n")
    Path("dvc.yaml").write_text("{}\n")
    Path("pipeline/birds").mkdir(parents=True)
    Path("pictures").symlink_to("pipeline/birds")
    with pytest.raises(UserError, match="is inside pipeline/"):
        load_params(Path("params.yaml"))


def _pictures(folder: Path) -> dict[Path, bytes]:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("robin", "wren"):
            for i in range(3):
                path = folder / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return {path: path.read_bytes() for path in folder.rglob("*.png")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_repro_leaves_pictures_where_they_are(
    new_clone: Callable[..., Any], small: dict[str, Any]
) -> None:
    clone = new_clone(**small)
    kept: dict[Path, bytes] = {}
    for place in PLACES:
        kept |= _pictures(clone.folder / place)
    clone.run("dvc", "repro", "prepare")
    clone.params(digits={"data": {"image_size": 9}})
    clone.run("dvc", "repro", "prepare")
    clone.run("dvc", "exp", "run", "--set-param", "digits.data.image_size=10", "prepare")

    # Also in the pipeline's own folders, which DVC itself would empty silently.
    for place in IN_OUTPUTS:
        kept |= _pictures(clone.folder / place)
    said = clone.run("dvc", "repro", "--force", "prepare", fails=True)
    assert "pipeline/downloads/digits holds test/robin/0.png, which this command" in said
    shutil.move(clone.folder / IN_OUTPUTS[0], clone.folder / "away")
    moved = {p: b for p, b in kept.items() if IN_OUTPUTS[0] in p.as_posix()}
    clone.run("dvc", "repro", "download")
    said = clone.run("dvc", "repro", "--force", "prepare", fails=True)
    assert "pipeline/prepared/digits holds test/robin/0.png, which this command" in said
    assert len(list((clone.folder / "away").rglob("*.png"))) == len(moved)
    for path, content in kept.items():
        assert path in moved or path.read_bytes() == content


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_pipeline_runs_without_git(
    new_clone: Callable[..., Any], small: dict[str, Any], tmp_path: Path
) -> None:
    """In what GitHub's "Download ZIP" gives, which is what ``git archive`` writes."""
    clone = new_clone(**small)
    clone.run("git", "archive", "--output", str(tmp_path / "it.zip"), "HEAD")
    shutil.unpack_archive(tmp_path / "it.zip", tmp_path / "it")
    for link in tmp_path.rglob("ablation/src"):  # a link, which zipfile unpacks as a file
        link.unlink()
    clone.run("dvc", "repro", "report", cwd=tmp_path / "it")
    assert (tmp_path / "it/reports/digits/report.html").is_file()
    assert "up to date" in clone.run("dvc", "status", cwd=tmp_path / "it")
