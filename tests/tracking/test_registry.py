"""A version becomes the champion only if it is not worse on the same test images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from saliencymixplus.commands.register import register
from saliencymixplus.errors import UserError
from saliencymixplus.tracking.record import read_card
from tests.helpers import write_run

WRONG = np.arange(1000) < 200


def _run(room: Any, model: Path, seed: int, wrong: Any) -> Path:
    """A finished, evaluated run in MLflow with a model, whose errors are those of ``wrong``."""
    training = room.start(seed).epochs(3)
    training.tracker.log_models(model)
    folder = write_run(room.folder, wrong, seed=seed)
    assert training.sent()
    card = read_card(training.folder)
    training.finish()
    (folder / "tracking.json").write_text(json.dumps(card.model_dump() | {"status": "FINISHED"}))
    client = MlflowClient(f"sqlite:///{room.database}")
    measured = room.folder / "evaluations" / "tiny" / "none" / f"seed{seed}"
    run_id = room.runs()[-1][0]
    client.log_artifact(run_id, str(measured / "predictions.npz"), "evaluation")
    return folder


def test_a_worse_challenger_stays_one(
    room: Any, trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(f"sqlite:///{room.database}")

    def aliases() -> dict[str, str]:
        found = client.get_registered_model("tiny").aliases
        return {alias: str(number) for alias, number in found.items()}

    first = _run(room, trained[0], 0, WRONG)
    register(first)
    assert aliases() == {"challenger": "1"}
    register(first, promote=True)  # the first: nothing to compare with
    assert aliases() == {"champion": "1"}

    worse = _run(room, trained[0], 1, np.arange(1000) < 250)
    with pytest.raises(UserError, match="not promoted"):
        register(worse, promote=True)
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert "+5.00 points" in capsys.readouterr().out
    register(worse, promote=True, margin=10.0)
    assert aliases() == {"champion": "2"}

    better = _run(room, trained[0], 2, WRONG)
    register(better, promote=True)
    assert aliases() == {"champion": "3"}
    assert "-5.00 points" in capsys.readouterr().out
    assert len(client.search_model_versions("name = 'tiny'")) == 3

    described = json.loads((better / "settings.json").read_text())
    described["data"]["digest"] = "1" * 64
    (better / "settings.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="other data"):
        register(better, promote=True)
