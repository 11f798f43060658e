"""Long error messages become one line that keeps the reason."""

from saliencymixplus.errors import one_line, reason_of


def test_the_reason_survives_a_long_path() -> None:
    line = reason_of(OSError(36, "File name too long", "/" + "x" * 5000))
    assert len(line) == 200
    assert line.startswith("/xxx")
    assert line.endswith("x: File name too long")


def test_the_reason_survives_a_long_quotation() -> None:
    assert one_line("not a number: " + "9" * 5000).startswith("not a number: 999")


def test_control_characters_are_escaped() -> None:
    assert one_line("a\x1b[2J\n  b") == r"a\x1b[2J b"


def test_an_error_without_a_message_is_named() -> None:
    assert reason_of(MemoryError()) == "MemoryError"
    assert reason_of(ValueError("odd")) == "ValueError: odd"
