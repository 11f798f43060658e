"""Evaluate a finished run and write the evaluation folder."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saliencymixplus import escape
from saliencymixplus.datasets.prepared import META, Prepared, load_prepared
from saliencymixplus.engine.device import choose_device, device_settings
from saliencymixplus.errors import UserError, is_out_of_memory
from saliencymixplus.evaluation import accuracy
from saliencymixplus.evaluation.classifier import classifier_of, predict_logits
from saliencymixplus.evaluation.current import MADE_FROM, measured_weights
from saliencymixplus.evaluation.measures import Report, Subject, measure, part_names
from saliencymixplus.evaluation.predictions import Predictions, save_predictions
from saliencymixplus.files import write_csv, write_json
from saliencymixplus.folders import reserved
from saliencymixplus.outputs import Output, writing
from saliencymixplus.progress import progress
from saliencymixplus.runs.read import Run, load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.settings.evaluation import EvaluationSettings
from saliencymixplus.tracking import record_evaluation

OUTPUT = Output(
    marks={"evaluation.json": '"images_of_costly_parts"'},
    files=(
        *("evaluation.json", "metrics.json", "predictions.npz", MADE_FROM),
        *("per_class.csv", "confusion.csv", "reliability.csv", "corruptions.csv"),
        *("attacks.csv", "occlusion.csv", "localisation.csv"),
    ),
)


def evaluate(
    run_dir: Path,
    prepared: Path,
    output: Path,
    settings: EvaluationSettings,
    runtime: RuntimeSettings,
) -> dict[str, float]:
    """Measure a finished run on the prepared test images and write the results to ``output``.

    The last weights get the full evaluation. For the best-validation and best-test weights, only
    the errors are recorded, prefixed with the name of the weights.

    Returns:
        The content of metrics.json: flat names to numbers.

    Raises:
        UserError: the run is missing or unfinished, or was trained on other data; or another
            process is writing ``output``.
    """
    device = choose_device(runtime.device)
    with (
        device_settings(device, deterministic=runtime.deterministic),
        progress("evaluating", len(part_names(settings)), unit="parts") as advance,
    ):
        metrics = measure_run(load_run(run_dir), prepared, output, settings, device, advance)
    record_evaluation(run_dir, output, metrics, runtime.tracker)
    return metrics


def measure_run(
    run: Run,
    prepared: Path,
    output: Path,
    settings: EvaluationSettings,
    device: torch.device,
    advance: Callable[[int], None],
    before_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Evaluate without recording in MLflow; several threads may do so at once.

    Args:
        advance: called with the number of parts done.
        before_batch: called before every forward pass; what it raises ends the evaluation.
    """
    data = load_prepared(prepared)
    _check_same_data(run, data, prepared)
    with reserved(output) as place, _memory_errors(settings, device):
        weights = run.weights_digest("last")  # taken first: they may be replaced meanwhile
        report, predictions = _measured(run, data, settings, device, advance, before_batch)
        with writing(output):
            write_evaluation(report, place.part)
            save_predictions(predictions, place.part / "predictions.npz")
            about = _provenance(run, data, settings, device, report, weights)
            write_json(place.part / "evaluation.json", about)
        place.publish()
    return report.metrics


def _measured(
    run: Run,
    data: Prepared,
    settings: EvaluationSettings,
    device: torch.device,
    advance: Callable[[int], None],
    before_batch: Callable[[], None] | None,
) -> tuple[Report, Predictions]:
    test = data.split("test")
    labels = torch.from_numpy(np.array(test.labels))
    classifiers = {which: classifier_of(run, which).to(device) for which in measured_weights(run)}
    logits = {}
    for which, classifier in classifiers.items():
        if before_batch:
            classifier.register_forward_pre_hook(lambda *_: before_batch())
        logits[which] = predict_logits(classifier, test.images, settings.batch_size)
        if not torch.isfinite(logits[which]).all():
            raise UserError(
                f"{run.path}: the {which} weights produce non-finite outputs: training diverged; "
                "lower training.learning_rate"
            )
    subject = Subject(
        classifiers["last"],
        test,
        data.split("val") if "val" in data.meta.counts else None,
        data.meta.classes,
        logits["last"],
        labels,
        settings,
    )
    report = measure(subject, advance)
    for which, found in logits.items():
        if which != "last":
            errors = accuracy.errors(found, labels)
            report.metrics |= {f"{which}_{k}": errors[k] for k in ("top1_error", "top5_error")}
    return report, Predictions.of(logits, labels)


def write_evaluation(report: Report, folder: Path) -> None:
    """Write metrics.json and one CSV per table."""
    write_json(folder / "metrics.json", report.metrics)
    for name, rows in report.tables.items():
        lines = ([escape.csv(v) if isinstance(v, str) else v for v in r.values()] for r in rows)
        write_csv(folder / f"{name}.csv", list(rows[0]), lines)


def _check_same_data(run: Run, data: Prepared, prepared: Path) -> None:
    trained_on = run.data.digest
    if trained_on != data.meta.digest:
        raise UserError(
            f"{run.path} was trained on data with digest {trained_on}, but {prepared} has digest "
            f"{data.meta.digest}: give the folder it was trained on, or train again"
        )
    for name in ("classes", "image_size", "mean", "std"):
        if getattr(run.data, name) != getattr(data.meta, name):
            raise UserError(
                f"{run.path / 'settings.json'} and {prepared / META} differ in the data's {name}: "
                "give the folder it was trained on, or train again"
            )


@contextmanager
def _memory_errors(settings: EvaluationSettings, device: torch.device) -> Iterator[None]:
    """Turn an out-of-memory error into one line that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # frees their tensors for the next run
        size = settings.batch_size
        advice = f"evaluation.batch_size {size // 2}" if size > 1 else "--device cpu"
        raise UserError(
            f"out of memory on {device} with evaluation.batch_size {size}: try {advice}"
        ) from error


def _provenance(
    run: Run,
    data: Prepared,
    settings: EvaluationSettings,
    device: torch.device,
    report: Report,
    weights: str | None,
) -> dict[str, Any]:
    test_images = data.meta.counts["test"]
    return {
        "run": {"digest": run.digest, "data": data.meta.digest, "weights": weights},
        "settings": settings.model_dump(mode="json"),
        "device": str(device),
        "torch": torch.__version__,
        "test_images": test_images,
        "images_of_costly_parts": min(settings.images or test_images, test_images),
        "skipped": report.skipped,
        "seconds": report.seconds,
    }
