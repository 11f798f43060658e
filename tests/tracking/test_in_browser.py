"""MLflow's user interface in a headless Chromium: what a user sees first."""

import time
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.tracking import record_evaluation
from tests.browser import Page, browser, chromium
from tests.tracking.servers import MLflowServer, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine"),
]


def _text(page: Page, address: str, *expected: str) -> str:
    """What is on screen at ``address``, once everything ``expected`` is, or after two minutes."""
    page.open("about:blank")
    page.open(address, width=1600, height=1400)
    deadline = time.monotonic() + 120
    while True:
        text = " ".join(str(page.run("document.body.innerText")).split())
        if all(part in text for part in expected) or time.monotonic() > deadline:
            return text
        time.sleep(0.5)


def test_what_matters_is_on_screen_first(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saliencymixplus.tracking.system.FIRST", 0.05)
    (tmp_path / "evaluation").mkdir()
    for seed in (0, 1):
        training = room.start(seed).epochs(12)
        time.sleep(0.3)  # for a sample of the system's load
        run = training.publish(tmp_path / f"run {seed}")
        training.finish()
        record_evaluation(run, tmp_path / "evaluation", {"ece": 3.0, "best_test_top1_error": 1.0})
    server = MLflowServer(room, free_port())
    view = training.tracker.url_hint.partition(" ")[0].partition("/#/")[2]
    try:
        with browser(tmp_path / "profile") as page:
            charts = _text(page, f"{server.address}/#/{view}", "cutmix · seed 1", "loss (")
            for shown in ("cutmix · seed 0", "cutmix · seed 1", "error (", "loss ("):
                assert shown in charts, charts
            assert charts.index("error (") < charts.index("loss (")
            assert "Token Usage" not in charts

            experiment = view.split("/")[1]
            ids = [run_id for run_id, _ in room.runs()]
            address = f"{server.address}/#/experiments/{experiment}/runs/{ids[0]}"
            assert room.epochs("system_load/cpu_utilization_percentage")
            wanted = ("digits: comparison", "test error, top-1", "error/test_top1")
            overview = _text(page, address, *wanted)
            assert wanted[0] in overview
            assert overview.index("test error, top-1") < overview.index("error/test_top1")
            assert "System metrics (" not in overview  # would come before all others

            curves = _text(page, f"{address}/model-metrics", "test_selected_optimistic")
            groups = ["error (", "loss (", "reliability (", "speed (", "test_selected_optimistic ("]
            places = [curves.index(group) for group in groups]
            assert places == sorted(places)

            both = f'runs=["{ids[0]}","{ids[1]}"]&experiments=["{experiment}"]'
            compared = _text(page, f"{server.address}/#/compare-runs?{both}", "error/test_top1")
            assert "error/test_top1" in compared
    finally:
        server.stop()
