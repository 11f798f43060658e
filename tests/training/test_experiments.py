"""Experiments in params.yaml, from the publisher's archive to a trained network, in miniature."""

from pathlib import Path
from statistics import median

import pytest

from saliencymixplus.comparison.compare import median_of_last_ten
from saliencymixplus.datasets.download import download
from saliencymixplus.datasets.prepare import prepare
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import ModelSettings, RuntimeSettings, load_params
from saliencymixplus.training.trainer import train
from tests.archives import cifar, sha256, tarred
from tests.datasets.test_listed import tiny_imagenet
from tests.helpers import REPOSITORY

ARCHIVES = {
    "openmixup_cifar100_resnet18": {"cifar-100-python.tar.gz": tarred(cifar("cifar100", 12))},
    "openmixup_tiny_imagenet_resnet18": tiny_imagenet()[0],
}


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ARCHIVES)
def test_an_experiment_of_the_field_runs(
    experiment: str, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    (tmp_path / "mirror").mkdir()
    for name, content in ARCHIVES[experiment].items():
        (tmp_path / "mirror" / name).write_bytes(content)
    sums = {name: sha256(content) for name, content in ARCHIVES[experiment].items()}
    params = load_params(REPOSITORY / "params.yaml")
    run = params.run(experiment, "cutmix-alpha02", 0)
    small = {"epochs": 11, "batch_size": 3, "sample_epochs": ()}
    run = run.model_copy(
        update={
            "download": run.download.model_copy(
                update={"mirror": str(tmp_path / "mirror"), "sha256": sums}
            ),
            "model": ModelSettings(name="resnet8"),
            "training": run.training.model_copy(update=small),
        }
    )
    download(run.download, tmp_path / "download", report=str)
    prepare(run.data, tmp_path / "download", tmp_path / "prepared", report=str)
    train(run, tmp_path / "prepared", tmp_path / "run", runtime)
    history = load_run(tmp_path / "run").history
    assert len(history) == 11
    assert all(row.train_mixed_top1_error is not None for row in history)  # every batch is mixed
    assert median_of_last_ten(history) == median(row.test_top1_error for row in history[1:])
