"""imagefolder: folders, zips and tars with any names, order and clutter."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saliencymixplus.errors import UserError
from saliencymixplus.settings import DownloadSettings


def _unpacked(files: dict[str, bytes | None], root: Path) -> DownloadSettings:
    for name, content in files.items():
        path = root / name
        if content is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return DownloadSettings(source="imagefolder", path=str(root))


@pytest.mark.parametrize("kind", ["folder", "zip", "w", "w:gz", "w:xz", "w:bz2"])
def test_the_same_pictures_in_any_wrapping(kind: str, bench: Any, make: Any) -> None:
    files = make.photos()
    if kind == "folder":
        settings = _unpacked(files, bench.folder / "photos")
    elif kind == "zip":
        settings = bench.own(make.zipped(files), "photos.zip")
    else:
        settings = bench.own(make.tarred(files, kind), "photos.bin")
    prepared = bench.run(settings)
    assert prepared.meta.name == ("photos.bin" if kind.startswith("w") else "photos")
    assert prepared.meta.classes == ["cat", "dog"]
    train, test = prepared.split("train"), prepared.split("test")
    assert train.files == [f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(3)]
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    # Each picture has a grey level of its own, so that a swapped row shows.
    assert train.images[:, 0, 0, 0].tolist() == [0, 5, 10, 15, 20, 25]
    assert test.images[:, 3, 4, 2].tolist() == [30, 35, 40, 45]
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert train.masks is None


def test_the_order_in_the_archive_does_not_matter(bench: Any, make: Any) -> None:
    files = make.photos()
    forward = bench.run(bench.own(make.tarred(files))).meta
    backward = bench.run(bench.own(make.tarred(dict(reversed(files.items()))))).meta
    assert forward.digest == backward.digest


def test_clutter_and_a_folder_around_everything_are_accepted(bench: Any, make: Any) -> None:
    plain = bench.run(bench.own(make.tarred(make.photos()))).meta
    files = {f"my photos/{name}": content for name, content in make.photos().items()}
    clutter = {
        "my photos/.DS_Store": b"x",
        "my photos/train/cat/Thumbs.db": b"x",
        "my photos/train/cat/._0.png": b"x",
        "my photos/train/.hidden/0.png": b"x",
        "my photos/LICENSE.txt": b"beside the splits",
        "__MACOSX/my photos/train/cat/._0.png": b"x",
    }
    assert bench.run(bench.own(make.zipped(files | clutter), "p.zip")).meta.digest == plain.digest


def test_a_folder_around_everything_on_disk_is_accepted(bench: Any, make: Any) -> None:
    plain = bench.run(bench.own(make.tarred(make.photos()))).meta
    files = {f"my photos/{name}": content for name, content in make.photos().items()}
    folder = _unpacked(files | {".DS_Store": b"x"}, bench.folder / "taken")
    assert bench.run(folder).meta.digest == plain.digest


def test_several_folders_around_everything_are_accepted(bench: Any, make: Any) -> None:
    plain = bench.run(bench.own(make.tarred(make.photos()))).meta
    files = {f"photos/photos/x/{name}": content for name, content in make.photos().items()}
    assert bench.run(bench.own(make.zipped(files), "p.zip")).meta.digest == plain.digest
    folder = _unpacked(files | {"photos/.DS_Store": b"x"}, bench.folder / "taken")
    assert bench.run(folder).meta.digest == plain.digest


def test_one_picture_that_darkens_all_others_is_named(bench: Any, make: Any) -> None:
    rng = np.random.default_rng(0)
    files = {
        name: make.encoded(Image.fromarray(rng.integers(0, 1 << bits, (8, 8)).astype(np.uint16)))
        for name in make.photos()
        for bits in [15 if name == "train/dog/1.png" else 10]
    }
    bench.run(bench.own(make.tarred(files)))
    assert [line for line in bench.lines if "train/dog/1.png uses 15 of 16 bits" in line]


def test_a_mask_with_inexact_values_is_refused(bench: Any, make: Any) -> None:
    mask = Image.new("L", (8, 8))
    for form, mode, reason in (("JPEG", "L", "is a JPEG"), ("PNG", "RGB", "its mode is RGB")):
        files = make.photos() | {"masks/train/cat/0.png": make.encoded(mask.convert(mode), form)}
        bench.refused(bench.own(make.tarred(files)), reason, stage="prepare")


def test_a_lone_split_folder_is_no_folder_around_everything(bench: Any, make: Any) -> None:
    files = {name: data for name, data in make.photos().items() if name.startswith("train/")}
    with pytest.raises(UserError, match="have no test split"):
        bench.run(_unpacked(files, bench.folder / "half"))


def test_unicode_and_spaces_in_every_name(bench: Any, make: Any) -> None:
    names = ("weiße Kätzchen", "犬 [α]")
    files = make.photos(classes=names)
    folder = _unpacked(files, bench.folder / "meine Fotos ü" / "α β")
    prepared = bench.run(folder)
    assert prepared.meta.classes == list(names)
    assert prepared.split("train").files[0] == "train/weiße Kätzchen/0.png"
    assert bench.run(bench.own(make.zipped(files), "ü β.zip")).meta.digest == prepared.meta.digest


def test_decomposed_and_composed_names_are_one_class(bench: Any, make: Any) -> None:
    # macOS writes ä as a and a combining dieresis.
    files = {
        name.replace("cat", "ka\u0308tz" if name.startswith("train") else "k\u00e4tz"): content
        for name, content in make.photos().items()
    }
    for settings in (bench.own(make.tarred(files)), _unpacked(files, bench.folder / "photos")):
        assert bench.run(settings).meta.classes == ["dog", "k\u00e4tz"]


def test_names_that_differ_in_their_form_only_are_refused(bench: Any, make: Any) -> None:
    files = make.photos(classes=("k\u00e4tz", "dog", "ka\u0308tz"))
    bench.refused(_unpacked(files, bench.folder / "photos"), "k\u00e4tz/0.png occurs twice")
    bench.refused(bench.own(make.tarred(files)), "' occurs twice")


def test_val_alone_is_the_test_split(bench: Any, make: Any) -> None:
    files = {name.replace("test/", "val/"): content for name, content in make.photos().items()}
    prepared = bench.run(bench.own(make.tarred(files)))
    assert prepared.meta.counts == {"train": 6, "test": 4}
    assert prepared.split("test").files[0] == "val/cat/0.png"


def test_val_beside_test_is_the_validation_split(bench: Any, make: Any) -> None:
    extra = {f"val/{name}/a.png": make.encoded(200) for name in ("cat", "dog")}
    settings = bench.own(make.tarred(make.photos() | extra))
    prepared = bench.run(settings)
    assert prepared.meta.counts == {"train": 6, "test": 4, "val": 2}
    assert prepared.split("val").images.min() == 200
    with pytest.raises(UserError, match="validation_fraction"):
        bench.run(settings, validation_fraction=0.5)


def test_a_one_image_class_cannot_be_split(bench: Any, make: Any) -> None:
    files = make.photos() | {
        f"{split}/lone wolf/0.png": make.encoded(grey)
        for split, grey in (("train", 9), ("test", 8))
    }
    settings = bench.own(make.tarred(files))
    with pytest.raises(UserError, match="class 'lone wolf' has only one image to split"):
        bench.run(settings, validation_fraction=0.4)
    assert not bench.prepared.exists()
    assert bench.run(settings).meta.counts["train"] == 7


def test_a_validation_split_smaller_than_the_classes_is_refused(bench: Any, make: Any) -> None:
    settings = bench.own(make.tarred(make.photos(train=5)))
    with pytest.raises(UserError, match="fewer than the 2 classes"):
        bench.run(settings, validation_fraction=0.1)


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("name", ["train/0.png", "train/cat/small/0.png", "test/cat/a/b/0.png"])
def test_a_picture_too_high_or_too_deep_is_refused(
    kind: str, name: str, bench: Any, make: Any
) -> None:
    files = make.photos() | {name: make.encoded(1)}
    folder = _unpacked(files, bench.folder / "photos")
    settings = folder if kind == "folder" else bench.own(make.tarred(files), "photos.tar")
    split = name.partition("/")[0]
    bench.refused(settings, f"{name} is not of the form {split}/CLASS/picture")


def test_what_is_wrong_in_a_folder_is_said_under_its_own_name(bench: Any, make: Any) -> None:
    files = make.photos() | {"train/emu/0.png": make.encoded(1)}
    settings = _unpacked(files, bench.folder / "my photos")
    bench.refused(settings, "my photos: class 'emu' is in train/ but not in test/")


def test_links_in_a_circle_are_refused(bench: Any, make: Any) -> None:
    settings = _unpacked(make.photos(), bench.folder / "photos")
    (bench.folder / "photos/train/cat/again").symlink_to("..")
    bench.refused(settings, "train/cat/again is a link to a folder that contains it: remove it")


@pytest.mark.parametrize("link", ["file", "class", "split", "nowhere"])
def test_links_out_of_the_folder_are_refused(link: str, bench: Any, make: Any) -> None:
    root = bench.folder / "photos"
    settings = _unpacked(make.photos(), root)
    outside = bench.folder / "outside"
    _unpacked({"a.png": make.encoded(1)}, outside)
    name, target = {
        "file": ("train/cat/link.png", outside / "a.png"),
        "class": ("train/fox", outside),
        "split": ("val", outside),
        "nowhere": ("train/cat/link.png", root / "gone.png"),
    }[link]
    (root / name).symlink_to(target)
    bench.refused(settings, name)


def test_a_link_within_the_folder_is_followed(bench: Any, make: Any) -> None:
    root = bench.folder / "photos"
    settings = _unpacked(make.photos(), root)
    (root / "train/cat/9.png").symlink_to("0.png")
    images = bench.run(settings).split("train").images
    np.testing.assert_array_equal(images[3], images[0])


def test_a_pipe_is_refused(bench: Any, make: Any) -> None:
    settings = _unpacked(make.photos(), bench.folder / "photos")
    os.mkfifo(bench.folder / "photos/train/cat/pipe.png")
    bench.refused(settings, "train/cat/pipe.png")


@pytest.mark.parametrize("ending", [".ZIP", ".tar", ".Tar.Gz"])
def test_the_data_are_called_as_their_archive_without_its_ending(
    ending: str, bench: Any, make: Any
) -> None:
    content = make.zipped(make.photos()) if ending == ".ZIP" else make.tarred(make.photos())
    for name, title in ((f"My Photos{ending}", "My Photos"), (ending, ending)):
        assert bench.run(bench.own(content, name)).meta.name == title


def test_the_manifest_tells_the_size_of_what_was_taken_over(bench: Any, make: Any) -> None:
    folder = _unpacked(make.photos(), bench.folder / "photos")
    for settings in (folder, bench.own(make.tarred(make.photos()))):
        downloads = bench.download(settings)
        (entry,) = json.loads((downloads / "manifest.json").read_text())["archives"]
        assert entry["bytes"] == (downloads / entry["name"]).stat().st_size > 0


def test_a_folder_is_packed_by_names_and_contents_alone(bench: Any, make: Any) -> None:
    root = bench.folder / "photos"
    settings = _unpacked(make.photos(classes=("c" * 200, "dog")), root)
    packed = (bench.download(settings) / "images.tar").read_bytes()
    (root / "train/dog/0.png").chmod(0o600)
    (root / "val").write_bytes(b"no folder")
    _unpacked({"notes/a.txt": b"beside the splits"}, root)
    assert (bench.download(settings) / "images.tar").read_bytes() == packed
    assert "note: notes/ holds no pictures and is ignored" in bench.lines


def test_a_name_that_is_no_utf8_is_refused(bench: Any, make: Any) -> None:
    settings = _unpacked(make.photos(), bench.folder / "photos")
    name = os.fsdecode(b"train/cat/\xff.png")
    (bench.folder / "photos" / name).write_bytes(make.encoded(1))
    with pytest.raises(UserError, match="not UTF-8: rename it"):
        bench.download(settings)


def test_a_changed_folder_is_taken_over_anew(bench: Any, make: Any) -> None:
    root = bench.folder / "photos"
    settings = _unpacked(make.photos(), root)
    before = bench.run(settings).meta.digest
    (root / "train/cat/0.png").write_bytes(make.encoded(77))
    assert bench.run(settings).meta.digest != before


def test_a_relative_path_counts_from_the_working_directory(
    bench: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unpacked(make.photos(), bench.folder / "photos")
    monkeypatch.chdir(bench.folder)
    prepared = bench.run(DownloadSettings(source="imagefolder", path="photos"))
    assert prepared.meta.counts["train"] == 6
