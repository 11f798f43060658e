"""The live bar and the lines: everything that is promised, within a terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.training.progress import Bar, Lines

ROW = EpochRow(
    epoch=199,
    learning_rate=0.1,
    train_loss=1.234,
    validation_top1_error=100.0,
    test_top1_error=98.76,
    seconds=18.0,
    images_per_second=123_456.0,
    forward_backward_passes=391,
)


def drawn(bar: Bar) -> str:
    """The bar as it is now."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(bar._bar.get_renderable())
    return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]


def test_the_bar_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(200)
    bar.end(ROW)
    bar.begin(200, 391, 0)
    bar._started -= 360_000
    bar.step(100, 1.234, 123_456.0)
    line = drawn(bar)
    bar.close()
    for shown in ("epoch 200/200", "loss 1.234", "error val 100.00%", "123,456 img/s", ":00 left"):
        assert shown in line
    assert "━" in line
    assert "\n" not in line
    assert len(line) <= 80
    said = next(line for line in capsys.readouterr().out.splitlines() if "199/200" in line)
    assert "error val 100.00%  test 98.76%" in said
    assert len(said.strip()) <= 80


def test_a_line_an_epoch_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Lines(200).end(ROW)
    assert capsys.readouterr().out == (
        "epoch 199/200  loss 1.234  error val 100.00%  test 98.76%  123,456 img/s  0:18 left\n"
    )
