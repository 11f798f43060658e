"""System metrics, sampled in the background."""

import sys
import time
from typing import Any

import pytest

from tests.tracking.mlflow_runs import client_of


def test_system_metrics_run_along_and_go_on_after_a_resume(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.05)
    monkeypatch.setattr("saliencymixplus.tracking.system.LONGEST", 0.05)
    training = room.start()
    time.sleep(0.3)
    training.crash()
    with (training.folder / "system.jsonl").open("a") as file:
        file.write('{"time_ms": 1, "step": 900, "val')  # cut off by a full disk
    training = room.start()
    time.sleep(0.3)
    training.finish()
    steps = room.epochs("system_load/cpu_utilization_percentage")
    assert len(steps) >= 2
    assert steps == list(range(len(steps)))


def test_the_first_reading_of_the_processor_is_left_out(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    readings = iter([0.0])  # psutil's first: the load since the call before it, which there is not
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_: next(readings, 50.0))
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.05)
    training = room.start()
    time.sleep(0.5)
    training.finish()
    key = "system_load/cpu_utilization_percentage"
    history = client_of(room).get_metric_history(room.runs()[0][0], key)
    assert {metric.value for metric in history} == {50.0}


def test_system_metrics_without_psutil_cost_one_line(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.01)
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in [n for n in sys.modules if n.startswith("mlflow.system_metrics.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    room.start().epochs(1).finish()
    assert capsys.readouterr().err.count("psutil") >= 1
    assert room.epochs() == [1]
