"""Output paths that are taken, read-only or oddly named, and inputs inside the output folder."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

RECIPE = ["--tracker", "none", "--progress", "none", "--device", "cpu", "--epochs", "1"]
SMALL = ["--set", "digits.training.warmup_epochs=0", "--set", "digits.data.image_size=8"]
FEW = ["--set", "audit.images=8", "--set", "evaluation.parts=[]"]


def folder_commands(ready):
    """Every command that writes a folder, with all that it needs before that."""
    data, run = ["--prepared", ready.prepared], ready.run
    return {
        "download": ["download"],
        "prepare": ["prepare", "--source", ready.downloads, *SMALL],
        "train": ["train", "--mix-aug", "cutmix", *RECIPE, *SMALL, *data],
        "evaluate": ["evaluate", run, "--tracker", "none", *FEW, *data],
        "compare": ["compare", ready.run, "--baseline", "cutmix"],
    }


@pytest.fixture(params=["download", "prepare", "train", "evaluate", "compare"])
def writing(request, ready):
    return folder_commands(ready)[request.param]


def test_a_file_where_the_folder_belongs(refused, tmp_path, writing):
    (tmp_path / "taken").write_text("mine")
    refused(*writing, "--output", "taken", culprit="taken")


def test_a_folder_with_other_files(refused, tmp_path, writing):
    """Replacing it would delete them; ``refused`` checks that every file is kept."""
    for folder in ("full", "full/metrics"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "thesis.txt").write_text("mine")
    refused(*writing, "--output", "full", culprit="full")


def test_the_report_of_a_folder_with_figures_of_its_own(refused, tmp_path, ready):
    (tmp_path / "paper" / "figures").mkdir(parents=True)
    (tmp_path / "paper" / "figures" / "mine.png").write_text("mine")
    refused("report", "--output", "paper", "--tracker", "none", culprit="figures")


def file_commands(ready):
    """Every command that writes a file, with all that it needs before that."""
    data, picture = ["--prepared", ready.prepared], "picture.png"
    return {
        "preview": (["preview", "--mix-aug", "cutmix", *data], "--output"),
        "predict": (["predict", ready.run, picture, "--device", "cpu"], "--sheet"),
        "bench": (["bench", "--mix-aug", "none", "--rounds", "1", "--batch-size", "2"], "--output"),
        "export": (["export", ready.run, "--format", "torchscript", *data], "--output"),
        "train-all": (
            [
                *("train-all", "--experiment", "digits", "--mix-aug", "none", "--jobs", "1"),
                *("--tracker", "none", "--device", "cpu", "--set", "seeds=[0]", *SMALL, *data),
                *("--set", "digits.training.epochs=1"),
            ],
            "--live",
        ),
    }


@pytest.mark.parametrize(
    "name",
    [*("preview", "predict", "export", "train-all"), pytest.param("bench", marks=pytest.mark.slow)],
)
def test_a_file_of_the_users_is_not_overwritten_but_one_of_the_commands_is(
    cli, refused, tmp_path, ready, name
):
    command, option = file_commands(ready)[name]
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    for taken in ("picture.png", "params.yaml"):
        refused(*command, option, taken, culprit=f"{taken} exists and was not written by this")
    for _ in range(2):
        outcome = cli(*command, option, "out.bin")
        assert outcome.code == 0, outcome.err
    assert (tmp_path / "out.bin").stat().st_size > 0


@pytest.mark.parametrize(
    ("command", "taken"),
    [
        ("compare", "comparison.csv"),
        ("compare", "pareto.png"),
        ("compare", "comparison.json"),
        ("compare", "metrics/none.json"),
        ("report", "report.md"),
        ("report", "learning_curves.csv"),
        ("report", "model_cards/mine.md"),
        ("resolve", "recipes/none.json"),
        ("audit", "audit.json"),
        ("evaluate", "evaluation.json"),
        ("prepare", "meta.json"),
        ("download", "manifest.json"),
        ("train", "settings.json"),
    ],
)
def test_files_of_the_users_in_a_folder_are_not_overwritten(
    refused, tmp_path, ready, command, taken
):
    (tmp_path / "paper" / taken).parent.mkdir(parents=True)
    (tmp_path / "paper" / taken).write_text("mine")
    words = {
        "audit": ["audit", "--mix-aug", "cutmix", "--prepared", ready.prepared],
        "report": ["report", "--tracker", "none"],
        "resolve": ["resolve", "--set", "methods=[none]"],
    } | folder_commands(ready)
    refused(*words[command], "--output", "paper", culprit="paper")


def test_a_file_of_the_users_among_a_commands_own_is_not_deleted(refused, copied):
    """Output folders are replaced whole, so that files of the user's must be refused."""
    places = [copied.downloads, copied.prepared, copied.run, copied.evaluated]
    for (_, command), place in zip(folder_commands(copied).items(), places, strict=False):
        (place / "notes.txt").write_text("mine")
        refused(*command, "--output", place, culprit=f"{place.name} holds notes.txt")
        (place / "notes.txt").unlink()


def test_an_evaluation_is_not_written_over_its_run(refused, copied):
    data = ["--prepared", copied.prepared, "--tracker", "none", *FEW]
    refused("evaluate", copied.run, "--output", copied.run, *data, culprit="run")


def test_what_a_command_wrote_it_may_write_again(cli, copied, tmp_path):
    """Also a run's folder in which DVC has left only a manual evaluation."""
    for path in copied.run.iterdir():
        if path != copied.evaluated:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    places = [copied.downloads, copied.prepared, copied.run, copied.evaluated, tmp_path / "report"]
    for (name, command), place in zip(folder_commands(copied).items(), places, strict=True):
        for _ in range(2):
            outcome = cli(*command, "--output", place)
            assert outcome.code == 0, (name, outcome.err)


def test_a_file_above_the_folder(refused, tmp_path, writing):
    (tmp_path / "taken").write_text("mine")
    refused(*writing, "--output", "taken/out", culprit="taken")


@pytest.fixture
def read_only(tmp_path):
    """A folder that even root can only read."""
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("root may write everywhere, and may not mount here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder(refused, read_only, writing):
    refused(*writing, "--output", read_only / "out", culprit="locked")


def test_a_read_only_state_folder(refused, read_only, monkeypatch, ready):
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(read_only / "state"))
    for command in (["download"], ["prepare"], ["train", *RECIPE, *SMALL]):
        refused(*command, culprit="locked")
    data = ["--prepared", ready.prepared]
    refused("train", *RECIPE, *SMALL, *data, "--output", "out", culprit="locked")


def test_a_state_folder_that_is_a_file(refused, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("mine")
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "taken"))
    for command in (["download"], ["prepare"], ["train", *RECIPE, *SMALL], ["sync"]):
        refused(*command, culprit="taken is a file where the state folder belongs")


def test_a_home_that_does_not_exist(refused, monkeypatch, ready):
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", "~nobody-of-this-name/state")
    refused("sync", culprit="there is no such user")


@pytest.mark.parametrize("output", ["taken/x.png", "folder", "x.txt/y.png"])
def test_a_preview_that_cannot_be_written(refused, tmp_path, ready, output):
    for name in ("taken", "x.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    data = ["--prepared", ready.prepared, "--mix-aug", "cutmix"]
    refused("preview", *data, "--output", output, culprit=output.split("/")[0])


def test_an_output_with_a_name_too_long(refused, writing):
    refused(*writing, "--output", "x" * 300, culprit="File name too long")


def test_unicode_and_spaces_in_every_path(cli, tmp_path, ready):
    """A whole experiment, in folders with unusual names."""
    odd = tmp_path / "mein Ordner" / "данные 数据 – 'quoted' [1] #%"
    odd.mkdir(parents=True)
    params = odd / "my params.yaml"
    (tmp_path / "params.yaml").rename(params)
    given = ["--params", params]
    data = ["--prepared", odd / "prepared é"]
    steps = [
        ["download", "--output", odd / "down loads", *given],
        ["prepare", "--source", odd / "down loads", "--output", data[1], *given, *SMALL],
        ["train", "--output", odd / "run 1", *given, *RECIPE, *SMALL, *data],
        ["evaluate", odd / "run 1", "--output", odd / "run 1 e", "--tracker", "none", *FEW, *data],
        ["preview", "--output", odd / "pic ture.png", "--run", odd / "run 1", *data],
    ]
    for step in steps:
        given_already = given if "--params" not in step else []
        outcome = cli(*step, *given_already)
        assert outcome.code == 0, outcome.err
    left = sorted(path.name for path in odd.iterdir())
    names = ["down loads", "my params.yaml", "pic ture.png", "prepared é", "run 1", "run 1 e"]
    assert left == names


@pytest.mark.parametrize(
    ("command", "damage", "culprit"),
    [
        ("prepare", "manifest.json", "manifest.json"),
        ("prepare", "digits.csv.gz", "digits.csv.gz"),
        ("train", "meta.json", "meta.json"),
        ("train", "train_images.npy", "train_images.npy"),
        ("train", "train_labels.npy", "train_labels.npy"),
        ("evaluate", "settings.json", "settings.json"),
        ("evaluate", "history.csv", "history.csv"),
        ("evaluate", "summary.json", "summary.json"),
        ("evaluate", "weights/last.safetensors", "last.safetensors"),
    ],
)
@pytest.mark.parametrize("how", ["cut", "gone", "other"])
def test_input_that_is_damaged_is_named(refused, ready, copied, command, damage, culprit, how):
    where = {"prepare": copied.downloads, "train": copied.prepared, "evaluate": copied.run}
    path = where[command] / damage
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"something else\n")
    outcome = refused(*folder_commands(copied)[command], "--output", "out", culprit="")
    assert culprit in outcome.err or where[command].name in outcome.err


def test_a_run_of_other_data_is_not_evaluated(refused, cli, ready, tmp_path):
    other = ["--set", "digits.data.split_seed=7", "--set", "digits.data.image_size=8"]
    assert cli("prepare", "--output", "other", *other).code == 0
    outcome = refused(
        "evaluate", ready.run, "--prepared", Path("other"), "--output", "out", culprit="other"
    )
    assert "digest" in outcome.err or "data" in outcome.err
