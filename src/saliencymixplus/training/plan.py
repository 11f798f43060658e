"""Describe what a training would do without training: ``train --dry-run``."""

from pathlib import Path

from saliencymixplus.datasets.cache import find_prepared
from saliencymixplus.datasets.prepared import counts_text, load_prepared
from saliencymixplus.engine.device import choose_device
from saliencymixplus.models import create_model, parameter_count
from saliencymixplus.models.pretrained import published_weights
from saliencymixplus.models.weights import PRETRAINED, file_of
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.training.launch import check, run_folder
from saliencymixplus.training.trainer import state_folder


def plan(
    run: RunSettings,
    runtime: RuntimeSettings,
    *,
    prepared: Path | None = None,
    output: Path | None = None,
) -> dict[str, str]:
    """Describe by heading what ``launch`` would do with the same arguments; writes nothing."""
    check(run, runtime, output)
    training = run.training
    group = f", {training.accumulate} for each step" if training.accumulate > 1 else ""
    method = run.mix.name
    if run.mix.method != run.mix.name:
        method += f" ({run.mix.method})"
    if run.mix.method != "none":
        method += f", in {100 * training.mix_prob:g}% of batches"
    lines = {
        "method": method,
        "seed": str(run.seed),
        "epochs": f"{training.epochs}, batches of {training.batch_size}{group}",
        "device": str(choose_device(runtime.device)),
        "tracker": runtime.tracker,
    }
    if run.model.weights == PRETRAINED:
        lines["weights"] = f"{PRETRAINED}, {published_weights(run.model.name)}"
    elif run.model.weights is not None:
        lines["weights"] = str(file_of(run.model.weights))
    found = prepared or find_prepared(run, run.experiment, lambda line: None)
    if found is None:
        path = run.download.path
        first = f"{path}, to be" if path else f"{run.download.source}, to be downloaded and"
        return lines | {"data": f"{first} prepared first"}
    meta = load_prepared(found).meta
    side = training.crop_size or run.data.image_size
    network = create_model(run.model.name, len(meta.classes), side, run.model.stem)
    digest = settings_digest(run, meta.digest)
    folder = output or run_folder(run, meta.digest)
    state = "a new run"
    if runtime.resume and any(state_folder(digest).glob("epoch*.pt")):
        state = "an unfinished run, to be resumed"
    elif (folder / "settings.json").is_file():
        state = "already has a finished run"
    return lines | {
        "data": f"{found}: {counts_text(meta.counts)}",
        "model": f"{run.model.name}, {parameter_count(network):,} parameters",
        "settings": f"digest {digest}",
        "output": f"{folder}: {state}",
    }
