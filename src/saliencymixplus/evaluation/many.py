"""Evaluate many runs in one process, skipping current evaluations."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Event

import torch

from saliencymixplus.engine.device import choose_device, device_settings
from saliencymixplus.errors import UserError, reason_of
from saliencymixplus.evaluation.current import is_current, mark_current, sources_of
from saliencymixplus.evaluation.evaluate import OUTPUT, measure_run
from saliencymixplus.evaluation.measures import part_names
from saliencymixplus.evaluation.read import load_evaluation
from saliencymixplus.outputs import check_folder
from saliencymixplus.progress import progress
from saliencymixplus.runs.read import Run, load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.settings.evaluation import EvaluationSettings
from saliencymixplus.tracking import Kind, record_evaluation, unrecorded_evaluations


class _Stopped(Exception):
    """The evaluation was interrupted."""


def evaluate_all(
    outputs: Mapping[Path, Path],
    prepared: Path,
    settings: EvaluationSettings,
    runtime: RuntimeSettings,
    jobs: int = 1,
) -> None:
    """Evaluate each run that has no current evaluation (see ``is_current``).

    If one fails, the others are still evaluated. Current ones are added to MLflow if it lacks them.

    Args:
        outputs: run folders to evaluation folders.
        jobs: how many to evaluate at once.

    Raises:
        UserError: a run is missing or damaged, an evaluation folder holds other files, or an
            evaluation failed; the message names the first.
    """
    runs = {folder: load_run(folder) for folder in outputs}
    sources = {folder: sources_of(run, settings) for folder, run in runs.items()}
    pending = [
        run
        for folder, run in runs.items()
        if not is_current(outputs[folder], sources[folder], OUTPUT.files)
    ]
    if kept := [run.path for run in runs.values() if run not in pending]:
        print(f"{len(kept)} of {len(runs)} evaluations are current", flush=True)
        _add_to_mlflow({run_dir: outputs[run_dir] for run_dir in kept}, runtime.tracker)
    if not pending:
        return
    for run in pending:
        check_folder(outputs[run.path], OUTPUT)
    jobs = min(jobs, len(pending))
    device = choose_device(runtime.device)
    failures: dict[Path, str] = {}
    stop = Event()

    def before_batch() -> None:
        if stop.is_set():
            raise _Stopped

    def end(run: Run, metrics: dict[str, float]) -> None:
        """Record an evaluation, then mark it as current; if killed before that, it is repeated."""
        output = outputs[run.path]
        record_evaluation(run.path, output, metrics, runtime.tracker)
        mark_current(output, sources[run.path], OUTPUT.files)
        print(f"{output}: test error {metrics['top1_error']:.2f}%", flush=True)

    parts = len(part_names(settings)) * len(pending)
    with (
        device_settings(device, deterministic=runtime.deterministic),
        progress("evaluating", parts, unit="parts") as advance,
        # Threads, since most of the time is spent in torch and NumPy: processes would each take
        # seconds to start.
        ThreadPoolExecutor(jobs) as pool,
    ):
        torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
        futures = {
            pool.submit(
                measure_run,
                *(run, prepared, outputs[run.path], settings, device, advance, before_batch),
            ): run
            for run in pending
        }
        try:
            for future in as_completed(futures):
                run = futures[future]
                try:
                    end(run, future.result())
                except (UserError, OSError) as error:
                    failures[run.path] = reason_of(error)
                    print(f"{run.path} failed: {reason_of(error)}", flush=True)
        except BaseException:  # Ctrl-C: end the threads at their next batch
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        name, reason = next(iter(failures.items()))
        raise UserError(
            f"{len(failures)} of {len(pending)} evaluations failed, first {name}: {reason} "
            "(run the same command to evaluate the missing ones)"
        )


def _add_to_mlflow(outputs: Mapping[Path, Path], tracker: Kind) -> None:
    """Record those of the current evaluations ``outputs``, by run folder, that MLflow lacks."""
    metrics = {run_dir: load_evaluation(output).metrics for run_dir, output in outputs.items()}
    missing = unrecorded_evaluations(metrics, tracker)
    if missing:
        print(f"adding {len(missing)} of them to MLflow", flush=True)
    for run_dir in missing:
        record_evaluation(run_dir, outputs[run_dir], metrics[run_dir], tracker)
