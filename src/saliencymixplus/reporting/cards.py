"""Model cards: a trained network, its errors and their intervals, its limits, how to load it."""

import math
from collections.abc import Sequence

from saliencymixplus import escape
from saliencymixplus.comparison.text import FEW_CLASSES
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting import recipe_text
from saliencymixplus.reporting.provenance import augmentation
from saliencymixplus.reporting.run_data import ReportedRun, spread
from saliencymixplus.runs.folder import DataFacts
from saliencymixplus.runs.read import Run
from saliencymixplus.settings import ModelSettings
from saliencymixplus.tables import Column, Table, Value, mean_sd, number

_ROBUSTNESS = {
    "nll": ("NLL", ""),
    "ece": ("Expected calibration error", " %"),
    "ece_scaled": ("The same after temperature scaling", " %"),
    "temperature": ("Temperature", ""),
    "mean_corruption_error": ("Mean error under corruptions", " %"),
    "occlusion_centre_error": ("Mean error under centre occlusion", " %"),
    "occlusion_random_error": ("Mean error under random occlusion", " %"),
}


def best_run(seeds: Sequence[ReportedRun]) -> ReportedRun:
    """The seed with the lowest validation error; without a validation split the first.

    It is never chosen by the test error, which would make the card's own figure optimistic.
    """

    def rank(run: ReportedRun) -> tuple[float, int]:
        error = _validation_error(run)
        return math.inf if error is None else error, run.seed

    return min(seeds, key=rank)


def model_card(chosen: ReportedRun, seeds: Sequence[ReportedRun]) -> str:
    """The card of ``chosen``, one of ``seeds``, in Markdown."""
    run = chosen.run
    title = f"{run.settings.model.name} on {run.data.name}"
    if run.settings.mix.method != "none":
        title += f", {method_label(chosen.mix)}"
    parts = (
        f"# {escape.markdown(title)}",
        _chosen(chosen, seeds),
        "## Use",
        _use(run),
        "## Network",
        _network(run),
        "## Data",
        _data(run.data),
        "## Training",
        _training(run),
        "## Errors",
        _errors(run, seeds),
        _further(chosen),
        "## Limits",
        _limits(chosen),
        "## Licence",
        _licence(run.settings.model),
        "## Loading",
        _loading(run),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _chosen(chosen: ReportedRun, seeds: Sequence[ReportedRun]) -> str:
    if len(seeds) == 1:
        return f"Seed {chosen.seed}, the only run."
    if _validation_error(chosen) is None:
        return (
            f"Seed {chosen.seed}, the first of {len(seeds)}: there is no validation split to "
            "choose by."
        )
    return f"Seed {chosen.seed}, of {len(seeds)} seeds the one with the lowest validation error."


def _use(run: Run) -> str:
    return (
        f"Meant for telling apart the {len(run.data.classes)} classes below in pictures like those "
        "it was trained on, and for comparing training methods. Not meant for decisions about "
        "people or safety: nothing here measures what that would need. "
        "`python cli.py predict RUN PICTURES` applies it to new pictures."
    )


def _licence(model: ModelSettings) -> str:
    if model.weights is None:
        return (
            "The weights started at random: they are yours, as far as the licence of the training "
            "data allows. The code that trained them is under the MIT licence."
        )
    source = f"{recipe_text.publisher(model)}'s" if model.weights == "pretrained" else "that file's"
    return (
        f"The weights derive from others ({recipe_text.start(model)}): {source} licence applies "
        "to them, next to that of the training data. Look it up before you pass them on."
    )


def _network(run: Run) -> str:
    height, width = run.input_size
    return (
        f"{escape.markdown(run.settings.model.name)} (stem: {run.settings.model.stem}), "
        f"{run.summary.parameters:,} parameters, "
        f"{escape.markdown(recipe_text.start(run.settings.model))}. Input: RGB images of {height} "
        f"× {width} pixels in [0, 1], minus the mean {_numbers(run.data.mean)}, divided by the "
        f"standard deviation {_numbers(run.data.std)}. Output: logits of "
        f"{len(run.data.classes)} classes."
    )


def _data(data: DataFacts) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in data.counts.items())
    shown = ", ".join(name.replace("_", " ") for name in data.classes[:12])
    more = f" and {len(data.classes) - 12} more" if len(data.classes) > 12 else ""
    text = escape.markdown(f"{data.name} ({counts} images). Classes: {shown}{more}.")
    return f"{text} Digest `{data.digest}`."


def _training(run: Run) -> str:
    training, mix = run.settings.training, run.settings.mix
    mixing = "No mixing."
    if mix.method != "none":
        options = ", ".join(f"{key} {value}" for key, value in mix.flat_options.items())
        mixing = (
            f"Mixing: {escape.markdown(method_label(mix.name))} on {training.mix_prob:.0%} of the "
            f"batches{escape.markdown(f' ({options})') if options else ''}."
        )
    rate = f"learning rate {training.learning_rate:g} ({recipe_text.schedule(training)})"
    return "\n".join(
        [
            f"- {recipe_text.optimizer(training)}, {rate}",
            *(f"- {text}" for text in recipe_text.further(training)),
            f"- {training.epochs} epochs, batch {training.batch_size}, seed {run.settings.seed}, "
            f"augmentation: {augmentation(training)}",
            f"- {mixing}",
            f"- {run.summary.seconds:.0f} seconds on {escape.markdown(run.device)}",
        ]
    )


def _errors(run: Run, seeds: Sequence[ReportedRun]) -> str:
    images = run.data.counts.get("test")
    top5 = len(run.data.classes) > FEW_CLASSES
    columns = [Column("Weights", "left"), Column("Epoch"), Column("Top-1 error (%)")]
    columns += [Column("95 % interval"), *([Column("Top-5 error (%)")] if top5 else [])]
    rows: list[list[Value]] = []
    for label, found in (
        ("last", run.summary.last),
        ("best validation epoch", run.summary.best_validation),
        ("best test epoch (optimistic)", run.summary.best_test),
    ):
        if found is not None:
            interval = _wilson(found.top1_error, images) if images else None
            row: list[Value] = [label, str(found.epoch), found.top1_error, interval]
            rows.append([*row, *([found.top5_error] if top5 else [])])
    parts = [Table(columns, rows).markdown()]
    if images:
        parts.append(f"Wilson intervals for {images:,} test images.")
    errors = [other.run.summary.last.top1_error for other in seeds]
    if len(errors) > 1:
        parts.append(
            f"Over {len(errors)} seeds, last epoch: top-1 error {mean_sd(*spread(errors)).text} % "
            "(mean ± standard deviation)."
        )
    return "\n\n".join(parts)


def _further(chosen: ReportedRun) -> str:
    rows = [
        [label, number(chosen.metrics[key], unit=unit)]
        for key, (label, unit) in _ROBUSTNESS.items()
        if key in chosen.metrics
    ]
    columns = [Column("Last weights", "left"), Column("Value")]
    return Table(columns, rows).markdown() if rows else ""


def _limits(run: ReportedRun) -> str:
    lines = [
        f"- It knows only these {len(run.run.data.classes)} classes and always names one of them.",
        "- The intervals hold for images like the test images, not for other cameras, crops or "
        "resolutions.",
    ]
    if "mean_corruption_error" in run.metrics and "top1_error" in run.metrics:
        lines.append(
            f"- Common corruptions raise its error from {run.metrics['top1_error']:.2f} % to "
            f"{run.metrics['mean_corruption_error']:.2f} % on average."
        )
    if "ece" in run.metrics:
        remedy = "calibrate it before you read it as a probability"
        if "temperature" in run.metrics:
            remedy = "divide the logits by the temperature above before the softmax"
        lines.append(
            f"- Its confidence is off by {run.metrics['ece']:.2f} points on average: {remedy}."
        )
    if _validation_error(run) is None:
        lines.append("- Without a validation split only the last epoch's error is unbiased.")
    return "\n".join(lines)


def _loading(run: Run) -> str:
    path = run.path.as_posix() if not run.path.is_absolute() else "/".join(run.path.parts[-4:])
    return f"""```python
from pathlib import Path

import torch

from saliencymixplus.runs.read import load_run

run = load_run(Path({path!r}))
model = run.model("last")  # on the CPU, in evaluation mode
images = torch.rand(2, 3, *run.input_size)  # your RGB images in [0, 1]
mean, std = (torch.tensor(v).view(3, 1, 1) for v in (run.data.mean, run.data.std))
with torch.no_grad():
    logits = model((images - mean) / std)
print([run.data.classes[label] for label in logits.argmax(dim=1)])
```

The weights are plain safetensors, `weights/last.safetensors` in that folder, described by
`last.json` beside them."""


def _validation_error(run: ReportedRun) -> float | None:
    """Error of the best validation epoch, in percent; None without a validation split."""
    found = run.run.summary.best_validation
    return None if found is None else found.validation_top1_error


def _wilson(error: float, images: int) -> str:
    """The 95 % interval of an error in percent (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(error / 100 * images), images).proportion_ci(method="wilson")
    return f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
