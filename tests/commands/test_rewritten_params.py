"""After a failed `dvc exp run -S`, the stage says how to restore params.yaml."""

import subprocess

import pytest

HINT = "`git checkout params.yaml` restores"


@pytest.fixture
def repository(cli, tmp_path):
    def git(*words):
        name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True)

    git("init", "--quiet")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "start")
    return tmp_path


@pytest.mark.parametrize(
    ("experiment", "changed", "told"),
    [("shy-fox", True, True), ("shy-fox", False, False), ("", True, False)],
)
def test_it_is_said_where_an_experiment_changed_it(
    cli, repository, monkeypatch, experiment, changed, told
):
    if experiment:
        monkeypatch.setenv("DVC_EXP_NAME", experiment)
    if changed:
        with (repository / "params.yaml").open("a") as file:
            file.write("# changed\n")
    outcome = cli("config", "--set", "digits.training.epochs=0")
    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert (HINT in outcome.err) is told


def test_a_queued_experiment_changes_a_copy_only(cli, repository, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "shy-fox")
    copy = repository / ".dvc" / "tmp" / "exps" / "one"
    copy.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", repository, copy], check=True)
    (copy / "params.yaml").write_text("methods: []\n")
    monkeypatch.chdir(copy)
    outcome = cli("config", "--set", "digits.training.epochs=0")
    assert outcome.code == 1
    assert HINT not in outcome.err
