"""``--help`` fits a terminal of 80 columns and is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saliencymixplus.mixing import METHODS

COMMANDS = [
    *("download", "prepare", "resolve", "train", "evaluate", "audit", "compare", "report"),
    *(
        "predict",
        "export",
        "register",
        "preview",
        "bench",
        "methods",
        "models",
        "experiments",
        "config",
        "sync",
    ),
]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_nothing_is_cut_at_80_columns(cli, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = cli(*command, "--help")
    assert outcome.code == 0
    assert max(len(line.rstrip()) for line in outcome.out.splitlines()) <= 80
    cut = [word for word in outcome.out.split() if word.endswith("…") and word != "…"]
    assert not cut


def test_commands_come_as_they_are_needed():
    # In a process of its own: other tests import commands in another order.
    script = Path(__file__).parents[2] / "cli.py"
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, check=True)
    shown = re.findall(r"^│ ([a-z]+) ", done.stdout.decode(), re.MULTILINE)
    assert sorted(shown) == sorted(COMMANDS)
    order = [COMMANDS.index(name) for name in shown if name != "sync"]
    assert order == sorted(order)


def test_what_may_be_chosen_is_listed(cli):
    assert set(METHODS) <= set(cli("train", "--help").out.replace(",", " ").split())
