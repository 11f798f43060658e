"""Random changes to files of a run folder give one line or have no effect."""

import random
from pathlib import Path

from tests.runs.conftest import evaluated
from tests.runs.mutating import mutated
from tests.runs.reading import read_everything, refusal

MUTATIONS = 200


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
        file.write_bytes(mutated(file, choose))
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
