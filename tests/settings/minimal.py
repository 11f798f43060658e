"""A minimal params.yaml."""

from saliencymixplus.errors import UserError

MINIMAL = "digits:\n  download:\n    source: digits\n"


def one_line(error: UserError) -> None:
    assert "\n" not in str(error)
