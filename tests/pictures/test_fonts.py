"""Names in any script: an installed font that has them, else the class's number."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib import get_data_path
from matplotlib.ft2font import FT2Font

from saliencymixplus.mixing import create
from saliencymixplus.pictures import fonts
from saliencymixplus.pictures.grid import samples_of
from saliencymixplus.pictures.style import figure, png_bytes

TTF = Path(get_data_path()) / "fonts" / "ttf"
NOWHERE = "\U000f0000"  # private use: no font has it


@pytest.fixture
def clean():
    """No cached fonts, nor a warning given already, before and after the test."""
    cached = (fonts.font, fonts._font_file, fonts._system_fonts, fonts._say_missing)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.fixture
def only_dejavu(monkeypatch, clean):
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [])


def names_in_grid(*classes):
    images, labels = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    mixed = create("none")(images, labels)
    meta = SimpleNamespace(mean=[0] * 3, std=[1] * 3, classes=classes)
    found = samples_of(mixed, images, labels, meta)
    return [sample.name_a for sample in found]


def test_dejavu_shows_what_it_has():
    assert fonts.font(12, text="Grünfink λ").getname() == ("DejaVu Sans", "Book")
    assert fonts.font(12, bold=True).getname() == ("DejaVu Sans", "Bold")
    assert fonts.has_font("Grünfink λ")


def test_a_system_font_takes_over(monkeypatch, clean):
    dejavu, mono = (str(TTF / name) for name in ("DejaVuSans.ttf", "STIXNonUni.ttf"))
    letter = chr(min(FT2Font(mono).get_charmap().keys() - FT2Font(dejavu).get_charmap().keys()))
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [mono])
    assert fonts.has_font(letter)
    assert fonts.font(12, text=letter).path == Path(mono)
    fig, axes = figure(3, 2)
    axes.set_title(letter)
    png_bytes(fig)
    assert axes.title.get_fontfamily() == ["DejaVu Sans", FT2Font(mono).family_name]


def test_classes_without_a_font_are_numbered_and_it_is_said_once(only_dejavu, capsys):
    assert names_in_grid("日本", "red_kite") == ["class 0", "red kite"]
    assert names_in_grid("日本", "🐶\u200d") == ["class 0", "class 1"]
    assert capsys.readouterr().err.count("no installed font") == 1


def test_figures_escape_what_no_font_has(only_dejavu, capsys):
    fig, axes = figure(3, 2)
    axes.set_title(f"a{NOWHERE}")
    png_bytes(fig)
    assert axes.get_title() == "a\\u{f0000}"
    assert "no installed font" in capsys.readouterr().err


def test_a_broken_font_file_is_passed_over(tmp_path, monkeypatch, clean):
    broken = tmp_path / "Broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [str(broken)])
    assert not fonts.has_font(NOWHERE)


def test_escape_sequences_in_names_are_visible():
    assert names_in_grid("\x1b[31mcat", "dog")[0] == "\\x1b[31mcat"


def test_dollars_in_names_are_no_formula():
    name = "$\\frac{$"

    def draw(title):
        fig, axes = figure(3, 2)
        axes.plot([0, 1], [0, 1], label=title)
        axes.set_title(title)
        axes.set_yticks([0, 1], [title, title])
        axes.legend()
        return png_bytes(fig)

    assert draw(name) != draw("$x$") != draw("x")
