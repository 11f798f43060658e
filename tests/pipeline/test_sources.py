"""The whole pipeline on every kind of source: from archive to report.

DVC prepares them all, and makes the reports of one with masks and of one without; the commands of
the others run in one process, as each starts with five seconds of imports. Digits are in
test_dvc_pipeline.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.archives import cifar, encoded, imagenet, pet, sha256, tarred, zipped

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Experiment -> images in each split, and whether there are masks.
EXPECTED = {
    "cifar10": ({"train": 15, "val": 5, "test": 4}, False),
    "cifar100": ({"train": 12, "test": 12}, False),
    "oxford_pet": ({"train": 9, "test": 6}, True),
    "folder": ({"train": 12, "val": 4, "test": 4}, True),
    "zip": ({"train": 12, "val": 4, "test": 4}, False),
    "tar": ({"train": 15, "test": 5}, True),
    "imagenet": ({"train": 12, "test": 4}, False),
}
BY_DVC = ("folder", "cifar100")
LATER = ("train", "evaluate", "audit", "compare", "report")
# A program that runs each of its arguments, a command of dvc.yaml.
ALL = """
import shlex, sys
from saliencymixplus.commands.app import main
for command in sys.argv[1:]:
    python, *sys.argv = shlex.split(command)
    try:
        main()
    except SystemExit as end:
        assert not end.code, (command, end.code)
"""


def _own(plain: bool, masks: bool) -> dict[str, bytes]:
    """Pictures of two classes, in split folders or all together."""
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    splits = {"": 10} if plain else {"Train/": 6, "valid/": 2, "test/": 2}
    for split, count in splits.items():
        for name in ("rötlich", "my wren"):
            for i in range(count):
                picture = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
                files[f"{split}{name}/{i}.jpg"] = encoded(picture, "JPEG")
                if masks:
                    mask = np.zeros((12, 16), np.uint8)
                    mask[2:8, i : i + 6] = 255
                    files[f"masks/{split}{name}/{i}.png"] = encoded(mask)
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="module")
def clone(new_clone: Callable[..., Any], small: dict[str, Any]) -> Any:
    """A clone in which ``dvc repro`` has run on all sources."""
    archives = {
        "cifar10": {"cifar-10-python.tar.gz": tarred(cifar())},
        "cifar100": {"cifar-100-python.tar.gz": tarred(cifar("cifar100", 12))},
        "oxford_pet": pet(),
    }
    training = small["digits"]["training"] | {"batch_size": 6, "milestones": []}
    common = {"model": {"name": "resnet8"}, "training": training}
    sections: dict[str, Any] = {
        source: {
            "download": {
                "source": source,
                "mirror": f"mirror of {source}",
                "sha256": {name: sha256(content) for name, content in files.items()},
            },
            "data": {"image_size": 8, "mean": None, "std": None},
            **common,
        }
        for source, files in archives.items()
    }
    sections["cifar10"]["data"]["validation_fraction"] = 0.25
    sections["oxford_pet"]["training"] = training | {"crop_size": 8}
    paths = {"folder": "data/my birds", "zip": "data/birds.zip", "tar": "data/birds.tar.xz"}
    for name, path in paths.items():
        data: dict[str, Any] = {"image_size": 8}
        if name == "tar":
            data["test_fraction"] = 0.25
        sections[name] = {"download": {"source": "imagefolder", "path": path}, "data": data}
        sections[name] |= common
    sections["imagenet"] = {
        "download": {"source": "imagenet", "path": "data/ILSVRC2012"},
        "data": {"image_size": 8, "mean": None, "std": None},
        "model": {"name": "resnet8"},
        "training": training | {"crop_size": 8},
    }
    changes = small | sections | {"experiments": [*EXPECTED], "methods": ["cutmix"]}
    clone = new_clone(**changes)
    root: Path = clone.folder
    for source, files in archives.items():
        (root / f"mirror of {source}").mkdir()
        for name, content in files.items():
            (root / f"mirror of {source}" / name).write_bytes(content)
    (root / "data").mkdir()
    _write(root / paths["folder"], _own(plain=False, masks=True))
    _write(root / "data/ILSVRC2012", imagenet(train=6, val=2))
    (root / paths["zip"]).write_bytes(zipped(_own(plain=False, masks=False)))
    (root / paths["tar"]).write_bytes(tarred(_own(plain=True, masks=True), "w:xz"))
    clone.run("dvc", "repro", "prepare", *(f"report@{name}" for name in BY_DVC))
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    commands = [
        stages[stage]["cmd"].replace("${item.experiment}", name)
        for name in EXPECTED
        if name not in BY_DVC
        for stage in LATER
    ]
    clone.run("python", "-c", ALL, *commands)
    return clone


@pytest.mark.parametrize("experiment", EXPECTED)
def test_a_source_gets_its_report(clone: Any, experiment: str) -> None:
    counts, has_masks = EXPECTED[experiment]
    root: Path = clone.folder
    meta = json.loads((root / "pipeline/prepared" / experiment / "meta.json").read_text())
    assert meta["counts"] == counts
    assert meta["has_masks"] == has_masks
    audit = (root / "audits" / experiment / "audit.md").read_text(encoding="utf-8")
    assert ("no object masks" in audit) != has_masks
    report = (root / "reports" / experiment / "report.html").read_text(encoding="utf-8")
    assert "CutMix" in report
    assert ("no object masks" in report) != has_masks
    comparison = json.loads((root / "reports" / experiment / "comparison.json").read_text())
    assert "cutmix" in json.dumps(comparison)


def test_a_second_repro_does_nothing(clone: Any) -> None:
    others = {f"{stage}@{name}" for stage in LATER for name in EXPECTED if name not in BY_DVC}
    assert clone.changed() == others
