"""How folders of the user's pictures are interpreted, and which layouts are refused."""

from typing import Any

import numpy as np
import pytest

from saliencymixplus.datasets.sources.layout import Layout, read_layout
from saliencymixplus.errors import UserError


def layout(*tops: str, classes: tuple[str, ...] = ("cat", "dog"), more: Any = ()) -> Layout:
    files = [f"{top}/{name}/{i}.png" for top in tops for name in classes for i in range(2)]
    return read_layout([*files, *more], [], "photos")


def refused(what: str, *tops: str, **options: Any) -> None:
    with pytest.raises(UserError, match=f"photos: {what}"):
        layout(*tops, **options)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("train", "val", "Test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VALID", "TEST"),
    ],
)
def test_the_usual_names_of_splits(train: str, val: str, test: str) -> None:
    found = layout(train, val, test)
    for split, folder in (("train", train), ("val", val), ("test", test)):
        assert found.pictures[split] == {
            name: [f"{folder}/{name}/{i}.png" for i in range(2)] for name in ("cat", "dog")
        }
    assert found.notes == ()


@pytest.mark.parametrize("folder", ["val", "Valid", "validation"])
def test_validation_alone_is_the_test_split_and_said(folder: str) -> None:
    found = layout("train", folder)
    assert {*found.pictures} == {"train", "test"}
    assert found.pictures["test"]["cat"] == [f"{folder}/cat/0.png", f"{folder}/cat/1.png"]
    assert found.notes == (f"there is no test folder: {folder}/ is the test split",)


def test_plain_class_folders_are_all_train() -> None:
    found = read_layout(["my/cat/1.jpg", "my/dog/1.jpg", "my/README"], ["my", "my/cat"], "photos")
    assert found.pictures == {"train": {"cat": ["my/cat/1.jpg"], "dog": ["my/dog/1.jpg"]}}


def test_what_is_not_understood_is_named() -> None:
    refused("tset/ is neither a split", "train", "test", "tset")
    refused("unlabeled/ is neither a split", "train", "test", more=["unlabeled/1.jpg"])
    refused("Valid/ and val/ are both the val split", "train", "val", "Valid", "test")
    refused(r"it has no train/CLASS/ folders \(found: dev/, test/\)", "dev", "test")
    refused("dev/cat/0.png is not of the form CLASS/picture; split folders are", "dev", "eval")
    refused("a.png is not in a class folder", "train", "test", more=["a.png"])
    refused("a.png is not in a class folder", more=["cat/1.png", "dog/1.png", "a.png"])
    refused("it has only one class", more=["cat/1.png", "cat/2.png"])
    refused(r"class 'dog' is in train/ but not in Valid/", "train", more=["Valid/cat/1.png"])


def test_what_is_no_picture_beside_the_splits_is_left_out_and_said() -> None:
    plain = layout("train", "test")
    assert layout("train", "test", more=["LICENSE", "val"]) == plain
    more = layout("train", "test", more=["notes/a.txt", "holdout/cat/1.jxl"])
    assert more.pictures == plain.pictures
    assert more.notes == (
        "holdout/ holds no pictures and is ignored",
        "notes/ holds no pictures and is ignored",
    )


@pytest.mark.parametrize("plain", [False, True])
def test_masks_belong_to_the_picture_of_their_name(plain: bool) -> None:
    tops = ("",) if plain else ("Train/", "test/")
    files = [f"{top}{name}/{i}.jpg" for top in tops for name in "ab" for i in range(2)]
    masks = [f"masks/{tops[0].lower()}b/1.png"]
    assert read_layout([*files, *masks], [], "p").masks == {masks[0]: f"{tops[0]}b/1.jpg"}
    for extra, what in (
        (f"masks/{tops[0]}b/7.png", "has no picture: rename"),
        (f"masks/{tops[0].lower()}b/1.gif", "has two masks"),
        (f"{tops[0]}b/1.webp", "would share a mask"),
    ):
        with pytest.raises(UserError, match=what):
            read_layout([*files, *masks, extra], [], "p")


def test_a_class_called_masks_is_a_class() -> None:
    found = read_layout(["masks/1.png", "no masks/1.png"], ["masks", "no masks"], "p")
    assert {*found.pictures["train"]} == {"masks", "no masks"}


def test_a_fraction_of_plain_folders_is_the_test_split(bench: Any, make: Any) -> None:
    rng = np.random.default_rng(0)
    files = {
        f"{name}/{i}.png": make.encoded(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        for name, count in (("cat", 20), ("dog", 10))
        for i in range(count)
    }
    settings = bench.own(make.tarred(files))
    with pytest.raises(UserError, match=r"`test_fraction: 0\.2` under `data:`"):
        bench.run(settings)
    prepared = bench.run(settings, test_fraction=0.2, validation_fraction=0.25)
    assert prepared.meta.counts == {"train": 18, "val": 6, "test": 6}
    names = {split: set(prepared.split(split).files) for split in prepared.splits}
    assert set.union(*names.values()) == set(files)
    assert np.bincount(prepared.split("test").labels).tolist() == [4, 2]
    again = bench.run(settings, test_fraction=0.2, validation_fraction=0.25)
    assert again.meta.digest == prepared.meta.digest
    # The test pictures do not depend on whether some are set aside for validation.
    assert set(bench.run(settings, test_fraction=0.2).split("test").files) == names["test"]
    other = bench.run(settings, test_fraction=0.2, split_seed=1)
    assert set(other.split("test").files) != names["test"]


def test_a_fraction_beside_a_test_folder_is_refused(bench: Any, make: Any) -> None:
    with pytest.raises(
        UserError, match=r"already have a test split: leave out data\.test_fraction"
    ):
        bench.run(bench.own(make.tarred(make.photos())), test_fraction=0.2)


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_masks_are_prepared_as_their_pictures(kind: str, bench: Any, make: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    mask = np.zeros((16, 24), np.uint8)
    mask[:8, 4:12] = 255  # after the crop to 16 × 16: the upper left quarter
    files = make.photos() | {
        "train/cat/wide.png": make.encoded(picture),
        "masks/train/cat/wide.png": make.encoded(mask),
    }
    settings = bench.own(make.tarred(files))
    if kind == "folder":
        for name, content in files.items():
            path = bench.folder / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        settings = settings.model_copy(update={"path": str(bench.folder / "photos")})
    train = bench.run(settings).split("train")
    expected = np.zeros((8, 8), np.uint8)
    expected[:4, :4] = 1
    np.testing.assert_array_equal(train.masks[train.files.index("train/cat/wide.png")], expected)
    assert (train.masks[train.files.index("train/cat/0.png")] == 2).all()  # unknown
    files["masks/train/cat/wide.png"] = make.encoded(mask[:, :8])
    settings = bench.own(make.tarred(files))
    with pytest.raises(UserError, match=r"masks/train/cat/wide.png has 8×16 .* has 24×16"):
        bench.run(settings)


def test_proportions_are_kept_unless_squashed(bench: Any, make: Any) -> None:
    """A picture of three stripes: the crop shows the middle one only."""
    stripes = np.repeat(np.array([10, 120, 240], np.uint8), 8)[None].repeat(8, 0)
    files = make.photos() | {"test/cat/0.png": make.encoded(stripes)}
    settings = bench.own(make.tarred(files))
    assert (bench.run(settings).split("test").images[0] == 120).all()
    assert (bench.run(settings, resize="crop").split("test").images[0] == 120).all()
    squashed = bench.run(settings, resize="squash").split("test").images[0]
    assert squashed[0, 0, 0] < 20
    assert squashed[0, -1, 0] > 230
