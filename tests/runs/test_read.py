"""Run folders come from strangers: what is damaged or hostile in one is one line, never more."""

import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliencymixplus.comparison.load import load_results
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.read import evaluation_folder, load_evaluation, read_table
from saliencymixplus.runs.folder import read_tracking
from saliencymixplus.runs.read import find_runs, load_run
from tests.helpers import write_run
from tests.runs.conftest import evaluated

MUTATIONS = 200


def read_everything(run_dir: Path) -> None:
    """All that any command reads of a run and its evaluation."""
    run = load_run(run_dir)
    assert run.model().training is False
    read_tracking(run_dir)
    evaluation = load_evaluation(evaluation_folder(run_dir))
    evaluation.tables()
    load_results([run_dir])


def refusal(run_dir: Path) -> str:
    """The line that says why the run cannot be read; empty if it can."""
    try:
        read_everything(run_dir)
    except UserError as error:
        return str(error)
    return ""


def test_what_was_written_is_read(run_dir: Path) -> None:
    read_everything(run_dir)
    run = load_run(run_dir)
    assert (run.settings.mix.name, run.summary.epochs, len(run.history)) == ("cutmix", 3, 3)
    assert run.summary.last.top1_error == 12.5
    assert run.summary.best_validation is None
    assert run.weights == ["last"]
    evaluation = load_evaluation(evaluated(run_dir))
    assert evaluation.metrics == {"nll": 0.5}
    assert evaluation.tables()["attacks"][0]["top1_error"] == "12.5"
    assert evaluation.predictions().wrong().sum() == 5


def test_runs_of_the_first_version_are_read() -> None:
    run = load_run(Path(__file__).parent / "version_0_1" / "saliencymixplus")
    assert run.versions["saliencymixplus"] == "0.1.0"
    assert run.settings.mix.method == "saliencymixplus"
    assert run.summary.epochs == len(run.history) == 12


def test_half_written_runs_are_not_runs(run_dir: Path) -> None:
    part = run_dir.parent / ".seed2.abc.part"
    part.mkdir()
    (part / "settings.json").write_text("{}")
    assert find_runs([run_dir.parents[2]]) == [run_dir]


def test_the_pipelines_evaluation_comes_before_one_by_hand(tmp_path: Path) -> None:
    run = write_run(tmp_path, np.arange(5) < 1)
    piped, by_hand, inside = (
        tmp_path / "evaluations/tiny/none/seed0",
        tmp_path / "outputs/evaluations/tiny/none/seed0",
        run / "evaluation",
    )
    by_hand.mkdir(parents=True)
    inside.mkdir()
    for folder in (piped, by_hand, inside):
        assert evaluation_folder(run) == folder
        folder.rename(folder.with_name("away"))


# Values that a stranger may put anywhere into a JSON file.
HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    10**9,
    10**18,
    -0.5,
    1e300,
    "",
    "../../escape",
    "/etc/passwd",
    "a/b",
    "nan",
    "\x1b[2J\x1b]0;title\x07",
    "[bold]x[/bold]",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "x" * 100_000,
    [],
    {},
    [[[[[[[[[[]]]]]]]]]],
    [10**9, 10**9],
    {"name": "../x"},
    ["a"] * 1000,
]
HOSTILE_TEXT = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    '"\\ud800"',
    "[" * 900 + "]" * 900,
    "[" * 100_000,
    '{"a":' * 500 + "1" + "}" * 500,
    '{"a": 1, "a": 2}',
    "",
    "\x00",
    "\xff",
]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside ``value``, itself included."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [at, *(place for key, inner in items for place in places(inner, (*at, key)))]


def mutated_json(text: str, choose: random.Random) -> bytes:
    """``text`` with one thing wrong with it."""
    kind = choose.choice(["value", "value", "value", "text", "drop", "add", "cut", "flip"])
    content = json.loads(text)
    place = choose.choice(places(content)[1:])
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if kind == "value":
        parent[place[-1]] = choose.choice(HOSTILE)
    elif kind == "text":
        parent[place[-1]] = "PLACE"
        return json.dumps(content).replace('"PLACE"', choose.choice(HOSTILE_TEXT), 1).encode()
    elif kind == "drop":
        del parent[place[-1]]
    elif kind == "add" and isinstance(parent, dict):
        parent[choose.choice(["../x", "\x1b[31m", "", "extra"])] = choose.choice(HOSTILE)
    elif kind == "cut":
        return text[: choose.randrange(len(text))].encode()
    else:
        return flipped(text.encode(), choose)
    return json.dumps(content).encode()


def flipped(content: bytes, choose: random.Random) -> bytes:
    """A few bytes changed, anywhere."""
    changed = bytearray(content)
    for _ in range(choose.randint(1, 4)):
        changed[choose.randrange(len(changed))] = choose.randrange(256)
    return bytes(changed)


def mutated_csv(text: str, choose: random.Random) -> bytes:
    """A table with one cell, line or byte wrong."""
    lines = [line.split(",") for line in text.splitlines()]
    line = choose.choice(lines)
    at = choose.randrange(len(line))
    kind = choose.choice(["cell", "cell", "more", "fewer", "cut", "flip"])
    if kind == "cell":
        line[at] = choose.choice(["", "nan", "inf", "1e999", "x", '"', "\x00", "9" * 5000, "epoch"])
    elif kind == "more":
        line.insert(at, "1")
    elif kind == "fewer":
        del line[at]
    elif kind == "cut":
        return text[: choose.randrange(len(text))].encode()
    else:
        return flipped(text.encode(), choose)
    return ("\n".join(",".join(line) for line in lines) + "\n").encode()


def test_random_changes_give_one_line_or_nothing(run_dir: Path) -> None:
    """Each of 200 seeded changes either does not matter, or is a ``UserError`` naming the file.

    Settings that are valid but not those of the weights show where the weights are read.
    """
    files = [
        *(run_dir / name for name in ("settings.json", "summary.json", "tracking.json")),
        run_dir / "history.csv",
        *(evaluated(run_dir) / f"{name}.json" for name in ("evaluation", "metrics")),
        *(evaluated(run_dir) / f"{name}.csv" for name in ("attacks", "reliability")),
        evaluated(run_dir) / "predictions.npz",
        run_dir / "weights" / "last.safetensors",
    ]
    refused = 0
    for seed in range(MUTATIONS):
        choose = random.Random(seed)
        file = choose.choice(files)
        before = file.read_bytes()
        change = {".json": mutated_json, ".csv": mutated_csv}.get(file.suffix)
        file.write_bytes(change(before.decode(), choose) if change else flipped(before, choose))
        said = refusal(run_dir)
        if said:
            refused += 1
            assert said.isprintable(), (seed, said)
            assert len(said) < 1000, (seed, said)
            named = (file.name, "last.safetensors") if file.suffix == ".json" else (file.name,)
            assert any(name in said for name in named), (seed, file.name, said)
        file.write_bytes(before)
    assert refused > MUTATIONS / 2
    read_everything(run_dir)


def put(file: str, *keys: Any, value: Any) -> Callable[[Path], None]:
    """A change of one value in a JSON file."""

    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        parent = content
        for key in keys[:-1]:
            parent = parent[key]
        parent[keys[-1]] = value
        path.write_text(json.dumps(content))

    change.file = file  # type: ignore[attr-defined]
    return change


def whole(file: str, content: bytes) -> Callable[[Path], None]:
    """Other content of the whole file."""

    def change(path: Path) -> None:
        path.write_bytes(content)

    change.file = file  # type: ignore[attr-defined]
    return change


def npz(**arrays: np.ndarray) -> bytes:
    """An archive of arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npz_with_header(header: str) -> bytes:
    """An archive with one array of a made-up header and no data."""
    text = header.encode() + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "labels.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"0" * 64
        )
    return buffer.getvalue()


LABELS, LOGITS, RANKS = (
    np.zeros(4, np.int32),
    np.zeros((4, 3), np.float16),
    np.zeros(4, np.uint16),
)
S, SUM, T, M, EV = (
    "settings.json",
    "summary.json",
    "tracking.json",
    "metrics.json",
    "evaluation.json",
)
HEADER = b"epoch,learning_rate,train_loss,seconds,images_per_second,forward_backward_passes\n"
DEEP = b"[" * 100_000 + b"]" * 100_000
HAND_MADE = [
    # Names that become paths.
    *(
        put(S, "settings", "mix", "name", value=name)
        for name in (
            "../README",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "..",
            ".hidden",
            "-rf",
            "",
            "a b",
            "a\0b",
            "x" * 200,
            "a\nb",
            "=cmd",
            "[red]a",
            "<b>",
            "\x1b[2J",
            5,
            None,
            ["a"],
        )
    ),
    *(
        put(S, "settings", "experiment", value=name)
        for name in ("../../x", "/tmp/x", "", None, "a\x1b")
    ),
    # Sizes that would be allocated.
    put(S, "data", "image_size", value=[10**9, 10**9]),
    put(S, "data", "image_size", value=10**9),
    put(S, "data", "image_size", value=[8, 8, 8]),
    put(S, "data", "image_size", value=[0, 0]),
    put(S, "settings", "data", "image_size", value=10**9),
    put(S, "settings", "training", "crop_size", value=10**9),
    put(S, "data", "classes", value=["x"] * 60_000),
    put(S, "data", "classes", value="abc"),
    put(S, "data", "classes", value=["x"] * 10),
    put(S, "data", "classes", value=["x"]),
    put(S, "settings", "mix", "options", value={"../x": 1}),
    put(S, "data", "counts", value={"train": -1}),
    put(S, "data", "counts", value={"../x": 1}),
    put(S, "settings", "training", "epochs", value=10**18),
    put(SUM, "epochs", value=10**16),
    put(SUM, "epochs", value=4),
    put(SUM, "epochs", value=True),
    put(SUM, "seconds", value=-1),
    put(SUM, "last", "top1_error", value=101),
    put(SUM, "last", value=[]),
    # Values of another kind.
    put(S, "digest", value="../x"),
    put(S, "digest", value=7),
    put(S, "device", value="\x1b]0;x\x07"),
    put(S, "data", "name", value="a\nb"),
    put(S, "data", "mean", value=["a", 0, 0]),
    put(S, "settings", value=[]),
    put(S, "settings", "model", "name", value={"a": 1}),
    put(T, "attempt", value="../../outside"),
    put(T, "experiment", value="a/b"),
    put(T, "tracker", value="http://127.0.0.1"),
    put(T, "run_id", value="../x"),
    put(T, "uri", value="\x1b[2J"),
    put(M, "nll", value="abc"),
    put(M, "nll", value=None),
    put(M, "../x", value=1.0),
    put(M, "a b", value=1.0),
    put(EV, "run", value={}),
    put(EV, "skipped", value={"a": "\x1b[2J"}),
    put(EV, "test_images", value=-1),
    # Files that are not what their names say.
    *(
        whole(file, content)
        for file in (S, SUM, T, M, EV)
        for content in (
            b"",
            DEEP,
            b'{"digest": ' + b"9" * 5000 + b"}",
            b'{"a": NaN}',
            b'{"a": 1e999}',
            b'{"epochs": 1, "epochs": 2}',
            b"\xff\xfe\x00",
            b'"\\ud800"',
            b"[]",
            b"null",
            b"7",
            b"[" + b"0," * 9_000_000 + b"0]",
        )
    ),
    *(
        whole("history.csv", content)
        for content in (
            b"",
            b"\xff\xfe",
            b"epoch\n1\n",
            b"epoch,epoch\n1,1\n",
            HEADER + b"1,1,nan,1,1,1\n",
            HEADER + b"1,1,1,1,1,1,1,1\n",
            b"epoch,train_loss\n1,1,1\n",
            b"epoch,train_loss\n1\x00,1\n",
            b'epoch,train_loss\n"1,1\n',
            b"epoch\n" + b"9" * 200_000 + b"\n",
        )
    ),
    *(
        whole("attacks.csv", content)
        for content in (
            b"a,a\n1,2\n",
            b"images\n1,2\n",
            b"images\nnan\n",
            b"images\nx\n",
            b"images\n" + b"1" * 200_000 + b"\n",
            b"\xff",
        )
    ),
    *(
        whole("predictions.npz", content)
        for content in (
            b"",
            b"PK\x03\x04",
            npz(labels=LABELS),
            npz(labels=LABELS, logits=LOGITS),
            npz(labels=LABELS, logits=LOGITS, rank_last=RANKS[:2]),
            npz(labels=LABELS + 9, logits=LOGITS, rank_last=RANKS),
            npz(labels=LABELS.astype(np.int64), logits=LOGITS, rank_last=RANKS),
            npz(labels=LABELS, logits=LOGITS, rank_last=RANKS, rank_x=RANKS),
            npz(labels=np.array([{}], dtype=object), logits=LOGITS, rank_last=RANKS),
            npz_with_header("{'descr': '<i4', 'fortran_order': False, 'shape': (20000000000,), }"),
            npz_with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
            npz_with_header("__import__('os').system('x')"),
        )
    ),
    *(
        whole("last.safetensors", content)
        for content in (
            b"",
            struct.pack("<Q", 80 * 10**9) + b"{}",
            struct.pack("<Q", 2) + b"{}",
            struct.pack("<Q", 2**64 - 1) + b"{}",
            struct.pack("<Q", 64)
            + b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,9]}}'[:64],
        )
    ),
]


@pytest.mark.parametrize("change", HAND_MADE, ids=range(len(HAND_MADE)))
def test_hostile_files_are_named_in_one_line(run_dir: Path, change: Any) -> None:
    (file,) = (
        found
        for root in (run_dir, evaluated(run_dir))
        for found in root.rglob("*")
        if found.name == change.file
    )
    change(file)
    said = refusal(run_dir)
    assert change.file in said
    assert len(said) < 1000
    assert said.isprintable()


def test_there_are_enough_of_them() -> None:
    assert len(HAND_MADE) >= 60


def test_a_pipe_in_place_of_a_file_is_not_waited_for(run_dir: Path) -> None:
    table = evaluated(run_dir) / "attacks.csv"
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(UserError, match=r"attacks\.csv: it is not a file"):
        read_table(table)
