"""Run folders are untrusted: anything damaged or hostile is reported in one line."""

from pathlib import Path

import numpy as np
import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.read import default_output, evaluation_folder, load_evaluation
from saliencymixplus.runs import read
from saliencymixplus.runs.read import find_runs, load_run
from tests.helpers import write_run
from tests.runs.conftest import evaluated
from tests.runs.reading import read_everything


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


def test_a_link_to_a_pipeline_run_is_evaluated_outside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, np.arange(5) < 1)
    (tmp_path / "link").symlink_to(run)
    assert default_output(tmp_path / "link") == tmp_path / "outputs/evaluations/tiny/none/seed0"
    (tmp_path / "loop").symlink_to("loop")
    assert default_output(tmp_path / "loop") == tmp_path / "loop/evaluation"


def test_links_to_runs_are_found_once_and_links_upwards_are_not_followed(tmp_path: Path) -> None:
    for name in ("mine/none", "theirs/cutmix"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "settings.json").touch()
    for name, target in (
        ("latest", "none"),
        ("cutmix", "../theirs/cutmix"),
        ("twice", "../theirs/cutmix"),
        ("all", ".."),
        ("loop", "loop"),
        ("gone", "nowhere"),
    ):
        (tmp_path / "mine" / name).symlink_to(target)
    assert find_runs([tmp_path / "mine"]) == [tmp_path / "mine/cutmix", tmp_path / "mine/none"]


def test_the_search_for_runs_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_FOLDERS", 5)
    for number in range(4):
        (tmp_path / "runs" / f"seed{number}").mkdir(parents=True)
        (tmp_path / "runs" / f"seed{number}" / "settings.json").touch()
    assert len(find_runs([tmp_path])) == 4
    for number in range(9):
        (tmp_path / ".hidden" / str(number)).mkdir(parents=True)
    assert len(find_runs([tmp_path])) == 4
    (tmp_path / "one more").mkdir()
    with pytest.raises(UserError, match="more than 5 folders, too many to search for runs"):
        find_runs([tmp_path])
