"""Cached prepared images are used only if settings and sources are unchanged."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.datasets import cache as locate
from saliencymixplus.datasets.download import download
from saliencymixplus.datasets.prepare import prepare
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DataSettings, DownloadSettings, ExperimentSettings


@pytest.fixture
def section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentSettings:
    """Two classes of grey pictures, and a repository around them."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "state"))
    for split in ("train", "test"):
        for level, name in enumerate(("cat", "dog")):
            for i in range(3):
                path = tmp_path / "pictures" / split / name / f"{i}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (100 * level + i,) * 3).save(path)
    download = DownloadSettings(source="imagefolder", path="pictures")
    return ExperimentSettings(download=download, data=DataSettings(image_size=8))


def quiet(_: str) -> None:
    """Says nothing."""


def by_dvc(section: ExperimentSettings) -> Path:
    """What the pipeline's two stages leave."""
    downloads, prepared = Path("pipeline/downloads/own"), Path("pipeline/prepared/own")
    download(section.download, downloads, report=quiet)
    prepare(section.data, downloads, prepared, report=quiet)
    return prepared.resolve()


def repaint() -> None:
    """Another picture under the name of one, of the same size in bytes."""
    path = Path("pictures/train/cat/0.bmp")
    size = path.stat().st_size
    Image.new("RGB", (8, 8), (7, 7, 7)).save(path)
    assert path.stat().st_size == size


def first_pixel(folder: Path) -> int:
    return int(load_prepared(folder).split("train").images[0, 0, 0, 0])


def test_what_dvc_prepared_is_used_while_the_pictures_are_the_same(
    section: ExperimentSettings,
) -> None:
    made = by_dvc(section)
    assert locate.prepared(section, "own", quiet) == made
    for path in Path("pictures").rglob("*.bmp"):  # copied anew: other times, the same bytes
        os.utime(path, (1, 1))
    assert locate.prepared(section, "own", quiet) == made


def test_changed_pictures_are_prepared_anew(section: ExperimentSettings) -> None:
    made = by_dvc(section)
    assert first_pixel(made) == 0
    repaint()
    found = locate.prepared(section, "own", quiet)
    assert found != made
    assert first_pixel(found) == 7
    again = locate.prepared(section, "own", quiet)
    assert again == found
    (Path("pictures/train/cat/3.bmp")).write_bytes(Path("pictures/train/cat/0.bmp").read_bytes())
    added = locate.prepared(section, "own", quiet)
    assert len(load_prepared(added).split("train")) == 7


@pytest.mark.parametrize(
    "change", [{"image_size": 16}, {"validation_fraction": 0.34}, {"split_seed": 1}]
)
def test_other_settings_never_find_what_was_prepared(
    section: ExperimentSettings, change: dict[str, float]
) -> None:
    made = by_dvc(section)
    other = section.model_copy(update={"data": section.data.model_copy(update=change)})
    found = locate.prepared(other, "own", quiet)
    assert found != made
    assert load_prepared(found).meta.settings == other.data.model_dump(mode="json")


def test_another_checksum_in_the_settings_is_another_archive(section: ExperimentSettings) -> None:
    made = by_dvc(section)
    meta = (made / "meta.json").read_text().replace('"imagefolder"', '"cifar10"')
    (made / "meta.json").write_text(meta)
    ((name, sha256),) = load_prepared(made).meta.archives.items()
    for value, same in ((sha256.upper(), True), ("0" * 64, False)):
        download = DownloadSettings(source="cifar10", sha256={name: value})
        wanted = section.model_copy(update={"download": download})
        assert locate._matches(made, wanted, quiet) is same


def test_pictures_that_are_gone_are_named(section: ExperimentSettings) -> None:
    by_dvc(section)
    Path("pictures").rename("elsewhere")
    with pytest.raises(UserError, match=r"download.path: .*pictures does not exist: .*--prepared"):
        locate.prepared(section, "own", quiet)


def test_a_relative_path_counts_from_the_repository_too(
    section: ExperimentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = locate.prepared(section, "own", quiet)
    Path("below").mkdir()
    monkeypatch.chdir("below")
    assert locate.prepared(section, "own", quiet) == first


@pytest.mark.parametrize("damage", ["array cut", "meta cut", "array gone"])
def test_a_damaged_cache_is_said_and_made_anew(section: ExperimentSettings, damage: str) -> None:
    folder = locate.prepared(section, "own", quiet)
    digest = load_prepared(folder).meta.digest
    victim = folder / ("meta.json" if damage == "meta cut" else "train_images.npy")
    if damage == "array gone":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-20])
    said: list[str] = []
    assert locate.prepared(section, "own", said.append) == folder
    assert "damaged" in said[0]
    assert load_prepared(folder).meta.digest == digest


def test_a_damaged_download_cache_is_said_and_made_anew(section: ExperimentSettings) -> None:
    folder = locate.downloaded(section, quiet)
    archive = folder / "images.tar"
    content = archive.read_bytes()
    data = bytearray(content)
    data[np.argmax(np.frombuffer(content, np.uint8) > 0)] ^= 1
    archive.write_bytes(data)
    said: list[str] = []
    assert locate.downloaded(section, said.append) == folder
    assert "has changed since its download" in said[0]
    assert archive.read_bytes() == content
