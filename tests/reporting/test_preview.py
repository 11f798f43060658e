"""The preview: one or several methods, with the same pairs in every row."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.mixing import METHODS, resolve_options
from saliencymixplus.models import create_model
from saliencymixplus.reporting import preview as module
from saliencymixplus.reporting.preview import preview
from saliencymixplus.settings import (
    DataSettings,
    DownloadSettings,
    ExperimentSettings,
    MixSettings,
    ModelSettings,
)
from tests.helpers import write_rectangles

EXPERIMENT = ExperimentSettings(
    download=DownloadSettings(source="digits"),
    data=DataSettings(),
    model=ModelSettings(name="resnet8"),
)


@pytest.fixture
def prepared(tmp_path):
    return write_rectangles(tmp_path / "prepared", images=40)


def recipes(*names):
    return [MixSettings(name=name, method=name) for name in names]


@pytest.mark.parametrize("method", [*METHODS])
def test_every_method_alone(prepared, tmp_path, method):
    picture = tmp_path / "one.png"
    assert preview(EXPERIMENT, prepared, recipes(method), picture, count=3).samples == 3
    assert np.asarray(Image.open(picture)).std() > 10


@pytest.fixture
def drawn(monkeypatch):
    """The samples and the title of every picture of one method."""
    seen = []
    original = module.draw_samples

    def draw(samples, *, title=""):
        seen.append((samples, title))
        return original(samples, title=title)

    monkeypatch.setattr(module, "draw_samples", draw)
    return seen


@pytest.mark.parametrize("method", ["cutmix", "mixup", "none"])
def test_a_method_without_saliency_is_shown_beside_the_stored_maps(
    prepared, tmp_path, drawn, method
):
    preview(EXPERIMENT, prepared, recipes(method), tmp_path / "one.png", count=3)
    ((samples, title),) = drawn
    assert "uses no saliency" in title
    stored = {split.tobytes() for split in load_prepared(prepared).split("train").saliency}
    for sample in samples:
        for shown in (sample.saliency_a, sample.saliency_b):
            assert (shown * 255).round().astype(np.uint8).tobytes() in stored


def test_with_a_run_it_is_shown_beside_the_networks_saliency(
    prepared, tmp_path, drawn, monkeypatch
):
    data = load_prepared(prepared)
    network = create_model("resnet8", len(data.meta.classes), data.meta.image_size).eval()
    trained = SimpleNamespace(
        data=SimpleNamespace(classes=data.meta.classes), model=lambda which: network
    )
    monkeypatch.setattr(module, "load_run", lambda path: trained)
    run = tmp_path / "run"
    preview(EXPERIMENT, prepared, recipes("cutmix"), tmp_path / "c.png", run=run, count=3)
    preview(EXPERIMENT, prepared, recipes("saliencymix"), tmp_path / "s.png", run=run, count=3)
    (_, title), (salient, own) = drawn
    assert "the network's" in title
    assert "no saliency" not in own  # what a method does use is what is shown
    stored = {split.tobytes() for split in load_prepared(prepared).split("train").saliency}
    assert (salient[0].saliency_b * 255).round().astype(np.uint8).tobytes() in stored


def test_published_saliencymix_shows_the_map_that_places_its_box(prepared, tmp_path, drawn):
    options = {"variant": "published"}
    mixes = [MixSettings(name="saliencymix-published", method="saliencymix", options=options)]
    preview(EXPERIMENT, prepared, mixes, tmp_path / "p.png", count=3)
    ((samples, title),) = drawn
    assert title == "SaliencyMix (published)"
    first = samples[0].saliency_b
    row, column = np.unravel_index((first * 255).astype(np.uint8).argmax(), first.shape)
    r0, c0, r1, c1 = samples[0].box
    assert r0 <= row <= r1
    assert c0 <= column <= c1


def test_all_methods_share_their_pairs(prepared, tmp_path, monkeypatch):
    taken = []
    original = module.draw_gallery

    def draw(rows, note):
        assert note == "saliency of an untrained network"
        taken.extend(rows)
        return original(rows, note=note)

    monkeypatch.setattr(module, "draw_gallery", draw)
    preview(EXPERIMENT, prepared, recipes(*METHODS), tmp_path / "all.png", outlines=True)
    assert len(taken) == len(METHODS)
    # Some methods choose partners themselves; Co-Mixup shows the two largest parts of many.
    chosen = {"none", "comixup"} | {name for name in METHODS if METHODS[name].pair}
    mixing = [row for name, row in zip(METHODS, taken, strict=True) if name not in chosen]
    for row in mixing[1:]:
        for ours, theirs in zip(row.samples, mixing[0].samples, strict=True):
            assert np.array_equal(ours.a, theirs.a)
            assert np.array_equal(ours.b, theirs.b)


def test_the_same_seed_draws_the_same_picture(prepared, tmp_path):
    pictures = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = tmp_path / f"{name}.png"
        preview(EXPERIMENT, prepared, recipes("saliencymixplus"), path, seed=seed)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_the_published_variant_mixes_half_a_batch_and_still_shows_all(prepared, tmp_path):
    options = {"variant": "published"}
    mixes = [MixSettings(name="saliencymixplus", method="saliencymixplus", options=options)]
    assert preview(EXPERIMENT, prepared, mixes, tmp_path / "p.png", count=8).samples == 8


def test_as_many_samples_as_asked_for_or_why_not(prepared, tmp_path, monkeypatch):
    taken = []
    original = module.draw_gallery
    monkeypatch.setattr(
        module, "draw_gallery", lambda rows, **more: (taken.append(rows), original(rows, **more))[1]
    )
    several = recipes("none", "cutmix", "mixup")
    found = preview(EXPERIMENT, prepared, several, tmp_path / "12.png", count=12)
    assert (found.samples, found.fewer) == (12, "")
    assert [len(row.samples) for row in taken[0]] == [12, 12, 12]
    preview(EXPERIMENT, prepared, several, tmp_path / "8.png", count=8)
    wide, folded = (Image.open(tmp_path / name).size for name in ("8.png", "12.png"))
    assert folded[0] <= wide[0] <= 1400
    assert folded[1] > 1.5 * wide[1]  # 12 pairs take two bands
    every = preview(EXPERIMENT, prepared, several, tmp_path / "64.png", count=64)
    assert (every.samples, every.fewer) == (40, "the train split has 40 images")


def test_a_switch_shows_each_member(prepared, tmp_path, monkeypatch):
    rows = []
    original = module.draw_gallery
    monkeypatch.setattr(
        module,
        "draw_gallery",
        lambda given, note: (rows.extend(given), original(given, note=note))[1],
    )
    options = resolve_options("switch", {"members": {"cutmix": 0.5, "mixup": 0.5}})
    both = MixSettings(name="both", method="switch", options=options)
    preview(EXPERIMENT, prepared, [both], tmp_path / "both.png", count=3)
    assert [row.title for row in rows] == ["both: CutMix", "both: mixup"]


def test_a_gallery_says_which_images_a_method_chooses(prepared, tmp_path, monkeypatch):
    written = []
    original = ImageDraw.ImageDraw.text

    def text(self, at, words, *rest, **more):
        written.append(words)
        original(self, at, words, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    mixes = recipes("mixup", "guidedsr", "comixup")
    preview(EXPERIMENT, prepared, mixes, tmp_path / "g.png", count=3)
    said = [words for words in written if words.startswith("chooses")]
    assert said == ["chooses its own b", "chooses a and b"]
