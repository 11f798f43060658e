"""Predictions for new pictures equal the evaluation's, however the pictures are given."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.inference.collect import pictures
from saliencymixplus.inference.predict import (
    Prediction,
    Predictor,
    as_table,
    contact_sheet,
    least_certain,
)
from saliencymixplus.runs.read import load_run

CPU = torch.device("cpu")


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "classes",
    [
        ("cat", "dog"),
        ("a class of a very long name" * 2, "dog"),
        ("Abyssinian", "american_bulldog", "Bengal"),
    ],
)
def test_a_terminal_shows_a_picture_in_one_line(width: int, classes: tuple[str, ...]) -> None:
    names = ["short.png", f"IMG_{'2026' * 40}.jpeg", f"{'画' * 90}.png"]
    found = [
        Prediction(name, classes[k % 2 :] + classes[: k % 2], (0.75, 0.2, 0.05)[: len(classes)])
        for k, name in enumerate(names)
    ]
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(as_table(found, short=True, width=width).rich())
    lines = capture.get().splitlines()
    assert max(map(cell_len, lines)) <= width
    if width == 100 or len(classes) == 2:
        assert all(name in capture.get() for name in classes if len(name) < 20)
    assert sum("%" in line for line in lines) == len(names)
    for name in names:
        shown = [line for line in lines if line.startswith(f" {name[:3]}")]
        assert len(shown) == 1
        assert name[-4:] in shown[0]
    assert "short.png" in capture.get()


def test_probabilities_are_those_of_the_evaluation(trained: tuple[Path, Path, Path]) -> None:
    folder, prepared, images = trained
    run, data = load_run(folder), load_prepared(prepared)
    found = list(Predictor(run, "last", CPU)(pictures([images]), top=2))
    side = run.input_size[0]
    classifier = PixelClassifier(run.model("last"), data.meta.mean, data.meta.std, side)
    expected = predict_logits(classifier, data.split("test").images[:10], 10).softmax(1)
    for row, prediction in enumerate(found):
        values, order = expected[row].topk(2)
        assert prediction.name.endswith(f"{row}.png")
        assert prediction.classes == tuple(run.data.classes[k] for k in order)
        assert prediction.probabilities == pytest.approx(values.tolist(), abs=1e-6)


def test_files_folders_and_archives_give_the_same(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, _, images = trained
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted(images.iterdir()):
            archive.write(file, f"deep/{file.name}")
        archive.writestr("__MACOSX/._0.png", b"clutter")
        archive.writestr("notes.txt", b"not a picture")
    contents = [[p.content for p in pictures([images])]]
    contents.append([p.content for p in pictures([tmp_path / "all.zip"])])
    contents.append([p.content for p in pictures(sorted(images.iterdir()))])
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == 10
    (tmp_path / "empty").mkdir()
    for path, words in {"empty": "holds no pictures", "absent.png": "does not exist"}.items():
        with pytest.raises(UserError, match=words):
            list(pictures([tmp_path / path]))


def test_deep_pictures_are_scaled_as_the_training_pictures_were(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder, _, images = trained
    run = load_run(folder)
    grey = np.array(Image.open(images / "0.png").convert("L"))
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) << 4).save(tmp_path / "12.png")
    deep = replace(run, data=run.data.model_copy(update={"bits": 12}))
    shallow, other = Predictor(deep, "last", CPU)(
        pictures([tmp_path / "8.png", tmp_path / "12.png"]), top=2
    )
    assert shallow.probabilities == other.probabilities


def test_a_bad_picture_costs_none_of_the_others(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder, _, images = trained
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but no more")
    paths = [images / "0.png", tmp_path / "bad.png", images / "1.png"]
    found = list(Predictor(load_run(folder), "last", CPU)(pictures(paths), top=1))
    assert [bool(prediction.error) for prediction in found] == [False, True, False]
    assert found[1].as_json() == {"picture": str(paths[1]), "error": found[1].error}
    assert len(as_table(found).rows) == 2
    assert [len(row) for row in as_table(found).rows] == [3, 3]
    (name, cell), _ = as_table(found, short=True).rows
    assert (name, cell) == (
        "0.png",
        f"{found[0].classes[0]} {100 * found[0].probabilities[0]:.1f} %",
    )
    assert (
        least_certain(found, 5)[0].probabilities[0] <= least_certain(found, 5)[1].probabilities[0]
    )


def test_the_sheet_shows_pictures_and_what_was_looked_at(
    trained: tuple[Path, Path, Path],
) -> None:
    folder, _, images = trained
    plain, looked = (
        list(Predictor(load_run(folder), "last", CPU, activations=maps)(pictures([images]), 1))
        for maps in (False, True)
    )
    assert plain[0].activation is None
    assert looked[0].activation is not None
    assert looked[0].activation.shape == looked[0].pixels.shape[:2]  # type: ignore[union-attr]
    assert looked[0].probabilities == pytest.approx(plain[0].probabilities)
    first, second = contact_sheet(plain, "title"), contact_sheet(looked, "title")
    assert first.shape == second.shape
    assert np.any(first != second)
