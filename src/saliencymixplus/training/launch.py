"""From settings to a finished run: data, folder, training, what to do next."""

from pathlib import Path
from typing import Any

from saliencymixplus.datasets.cache import prepared as ensure_prepared
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.device import choose_device
from saliencymixplus.folders import check_folder
from saliencymixplus.models import create_model
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.training.trainer import RUN_MARKS, train
from saliencymixplus.workspace import checkout_root


def launch(
    run: RunSettings,
    runtime: RuntimeSettings,
    *,
    prepared: Path | None = None,
    output: Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Train with images found or made; returns the run's folder and its summary.

    A run that no DVC stage asked for goes to ``outputs/``, under a name that its settings' digest
    ends, so that it is never taken for one of the pipeline's.
    """
    _check(run, runtime, output)
    data = prepared or ensure_prepared(run, run.experiment)
    if output is None:
        digest = settings_digest(run, load_prepared(data).meta.digest)
        name = f"{run.mix.name}-seed{run.seed}-{digest[:8]}"
        output = checkout_root() / "outputs" / run.experiment / name
    return output, train(run, data, output, runtime)


def _check(run: RunSettings, runtime: RuntimeSettings, output: Path | None) -> None:
    """What is wrong shows before the images are fetched and the network is trained."""
    choose_device(runtime.device)
    output = output or checkout_root() / "outputs" / run.experiment / run.mix.name
    check_folder(output, *RUN_MARKS)
    side = run.training.crop_size or run.data.image_size
    create_model(run.model.name, 10, side, run.model.stem)
