"""One style for every figure: stable colours per method, reproducible bytes."""

from matplotlib.colors import to_rgb

from saliencymixplus.pictures.palette import LOOKS, look
from saliencymixplus.pictures.style import (
    figure,
    finish_axes,
    method_label,
    method_styles,
    png_bytes,
)

PUBLISHED = ("none", "cutmix", "saliencymix", "saliencymixplus")


def luminance(colour):
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True))


def test_published_methods_differ_in_colour_marker_and_name():
    styles = [method_styles([name])[name] for name in PUBLISHED]
    for attribute in ("colour", "marker", "label"):
        assert len({getattr(style, attribute) for style in styles}) == 4
    assert method_label("saliencymixplus") == "SaliencyMix+"
    assert all(luminance(style.colour) < 0.6 for style in styles)  # readable on white


def test_a_method_looks_the_same_whatever_stands_beside_it():
    assert method_styles(PUBLISHED)["cutmix"] == method_styles(["cutmix", "x"])["cutmix"]


def test_recipes_that_share_a_figure_are_told_apart():
    names = [f"recipe-{i}" for i in range(7)]
    styles = method_styles(iter(names))
    assert list(styles) == names
    assert len({(style.colour, style.marker) for style in styles.values()}) == 7


def test_an_unknown_recipe_takes_no_known_methods_look():
    names = (f"a{i}" for i in range(10_000))
    code = next(name for name in names if look(name) == LOOKS["resizemix"])
    styles = method_styles([code, "resizemix"])
    assert (styles["resizemix"].colour, styles["resizemix"].marker) == LOOKS["resizemix"]
    assert (styles[code].colour, styles[code].marker) != LOOKS["resizemix"]


def test_plain_training_is_grey_everywhere():
    styles = method_styles(["none", "none (epochs=5)", "none (epochs=9)"])
    assert {style.colour for style in styles.values()} == {LOOKS["none"][0]}
    assert len({style.marker for style in styles.values()}) == 3


def test_equal_figures_are_equal_bytes():
    def draw():
        fig, axes = figure(3, 2)
        axes.plot([1, 2], [2, 1], **method_styles(["cutmix"])["cutmix"].line())
        finish_axes(axes, x="Epoch", y="Top-1 error (%)")
        return png_bytes(fig)

    assert draw() == draw()
    assert draw().startswith(b"\x89PNG")
