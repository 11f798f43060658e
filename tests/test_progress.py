"""Progress bars and lines, in terminals of any width."""

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from saliencymixplus import progress as module
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.progress import EpochBar, EpochLines, progress, training_progress

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


def drawn(bar: EpochBar, width: int) -> str:
    """The bar as it is now."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(bar._bar.get_renderable())
    return console.file.getvalue().rstrip("\n")  # type: ignore[attr-defined]


def test_the_bar_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    bar = EpochBar(200)
    bar.begin(199, 391, 0)
    bar.end(ROW)
    bar.begin(200, 391, 0)
    bar._started -= 360_000
    bar.step(100, 1.234, 123_456.0)
    line = drawn(bar, 80)
    narrow = drawn(bar, 40)
    wide = drawn(bar, 200)
    bar.close()
    error = "error val 100.00%"
    for shown in ("epoch 200/200", "loss 1.234", error, "123,456 images/s", ":00 left"):
        assert shown in line
        assert shown in wide
    assert "╸" in line
    assert "━" in wide
    assert "epoch 200/200" in narrow
    for text, width in ((line, 80), (narrow, 40), (wide, 200)):
        assert "\n" not in text
        assert len(text) <= width
    said = next(line for line in capsys.readouterr().out.splitlines() if "199/200" in line)
    assert "error val 100.00%  test 98.76%" in said
    assert len(said.strip()) <= 80


def test_a_line_per_epoch_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    EpochLines(200).end(ROW)
    assert capsys.readouterr().out == (
        "epoch 199/200  loss 1.234  error val 100.00%  test 98.76%  123,456 images/s  0:18 left\n"
    )


def test_long_epochs_have_lines_in_between(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lines = EpochLines(2)
    lines.begin(1, 100, 0)
    for done in (10, 20, 30, 40):
        now += 40
        lines.step(done, 0.5, 64.0)
        lines.step(done, None, None)
    assert capsys.readouterr().out == (
        "epoch 1/2  step 20/100  loss 0.500  64 images/s  12:00 left\n"
        "epoch 1/2  step 40/100  loss 0.500  64 images/s  10:40 left\n"
    )


def test_a_long_job_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    said: list[str] = []
    with progress("decoding [bold]{x}", 4000, said.append) as advance:
        for _ in range(4):
            now += 6
            advance(1000)
    assert said == [f"decoding [bold]{{x}}: {n},000 of 4,000 images" for n in (2, 4)]


def test_a_title_is_never_markup_or_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    with progress("a[red]{task.id}", 10**9, unit="bytes") as advance:
        advance(10**8)
    assert "a[red]{task.id}" in out.getvalue()


def test_a_terminal_without_unicode_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", errors="replace", write_through=True)
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    shown = training_progress("auto", 200)
    shown.begin(1, 3, 0)
    shown.step(1, 1.0, 10.0)
    shown.say("λ of étoile 🐶")
    shown.end(ROW)
    shown.close()
    assert b"of ?toile" in raw.getvalue()
    assert b"epoch 199/200" in raw.getvalue()


def test_a_terminal_that_is_gone_does_not_hide_why_a_training_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bar = EpochBar(3)

    def gone(bar: Progress) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Progress, "stop", gone)
    bar.close()
