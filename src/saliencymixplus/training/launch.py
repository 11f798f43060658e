"""Take settings to a finished run: prepare the data, choose the folder, train."""

from pathlib import Path
from typing import Any

from saliencymixplus.datasets.cache import prepared as ensure_prepared
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.device import choose_device
from saliencymixplus.engine.optimizer import create_optimizer
from saliencymixplus.models import create_model
from saliencymixplus.models.pretrained import published_weights
from saliencymixplus.models.weights import PRETRAINED, fingerprint
from saliencymixplus.outputs import check_folder
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.training.trainer import RUN_OUTPUT, train
from saliencymixplus.workspace import checkout_root


def launch(
    run: RunSettings,
    runtime: RuntimeSettings,
    *,
    prepared: Path | None = None,
    output: Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Prepare the images if necessary and train; returns the run's folder and its summary.

    Runs outside the DVC pipeline go to ``outputs/``, under a name that ends in the digest of their
    settings, so that they are not mistaken for the pipeline's.
    """
    check(run, runtime, output)
    data = prepared or ensure_prepared(run, run.experiment)
    output = output or run_folder(run, load_prepared(data).meta.digest)
    return output, train(run, data, output, runtime)


def run_folder(run: RunSettings, data_digest: str) -> Path:
    """The default run folder, below ``outputs/``."""
    digest = settings_digest(run, data_digest)
    name = f"{run.mix.name}-seed{run.seed}-{digest[:8]}"
    return checkout_root() / "outputs" / run.experiment / name


def check(run: RunSettings, runtime: RuntimeSettings, output: Path | None) -> None:
    """Reject what cannot be trained, before any image is downloaded."""
    choose_device(runtime.device)
    output = output or checkout_root() / "outputs" / run.experiment / run.mix.name
    check_folder(output, RUN_OUTPUT)
    side = run.training.crop_size or run.data.image_size
    model = run.model
    network = create_model(
        model.name, 10, side, model.stem, model.drop_path, model.zero_init_residual
    )
    if run.training.optimizer.startswith("timm/"):
        # The settings have validated torch's own, which import its compiler when made: a second.
        create_optimizer(network, run.training)
    if model.weights == PRETRAINED:
        published_weights(model.name)
    elif model.weights is not None:
        fingerprint(model.weights)  # reads the file
