"""Model cards: what a trained network is, how good and how sure that is, its limits, loading."""

from collections.abc import Sequence
from typing import Any

from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting.run_data import RunFolder, spread

_ROBUSTNESS = {
    "nll": ("NLL", ""),
    "ece": ("Expected calibration error", " %"),
    "ece_scaled": ("The same after temperature scaling", " %"),
    "temperature": ("Temperature", ""),
    "mean_corruption_error": ("Mean error under corruptions", " %"),
    "occlusion_centre_error": ("Mean error under centre occlusion", " %"),
    "occlusion_random_error": ("Mean error under random occlusion", " %"),
}


def best_run(seeds: Sequence[RunFolder]) -> RunFolder:
    """The seed with the lowest validation error; without a validation split the first.

    Never chosen by the test error: that would make the card's own figure optimistic.
    """
    return min(seeds, key=lambda run: (_validation_error(run), run.seed))


def model_card(run: RunFolder, seeds: Sequence[RunFolder]) -> str:
    """The card of ``run``, one of ``seeds``, in Markdown."""
    settings = run.described["settings"]
    data, training, mix = run.described["data"], settings["training"], settings["mix"]
    name = settings["model"]["name"]
    method = method_label(run.mix)
    title = f"{name} on {data['name']}" + ("" if mix["method"] == "none" else f", {method}")
    return (
        "\n\n".join(
            part
            for part in (
                f"# {title}",
                _chosen(run, seeds),
                "## Network",
                _network(run, name, data),
                "## Data",
                _data(data),
                "## Training",
                _training(training, mix, settings["seed"], run),
                "## Errors",
                _errors(run, seeds, data),
                _further(run),
                "## Limits",
                _limits(run, data, training),
                "## Loading",
                _loading(run),
            )
            if part
        )
        + "\n"
    )


def _chosen(run: RunFolder, seeds: Sequence[RunFolder]) -> str:
    if len(seeds) == 1:
        return f"Seed {run.seed}, the only run."
    if _validation_error(run) < 1000:
        return f"Seed {run.seed}, of {len(seeds)} seeds the one with the lowest validation error."
    return f"Seed {run.seed}, the first of {len(seeds)}: there is no validation split to choose by."


def _network(run: RunFolder, name: str, data: dict[str, Any]) -> str:
    training = run.described["settings"]["training"]
    height, width = data["image_size"]
    side = training["crop_size"]
    size = f"{side} × {side}" if side else f"{height} × {width}"
    parameters = run.summary.get("parameters")
    count = f", {parameters:,} parameters" if parameters else ""
    return (
        f"`{name}` (stem: {run.described['settings']['model']['stem']}){count}, trained from "
        f"scratch. Input: RGB images of {size} pixels in [0, 1], less the mean "
        f"{_numbers(data['mean'])}, over the standard deviation {_numbers(data['std'])}. "
        f"Output: logits of {len(data['classes'])} classes."
    )


def _data(data: dict[str, Any]) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in data.get("counts", {}).items())
    classes = data["classes"]
    shown = ", ".join(name.replace("_", " ") for name in classes[:12])
    more = f" and {len(classes) - 12} more" if len(classes) > 12 else ""
    return f"{data['name']} ({counts} images). Classes: {shown}{more}. Digest `{data['digest']}`."


def _training(training: dict[str, Any], mix: dict[str, Any], seed: int, run: RunFolder) -> str:
    schedule = (
        f"×{training['gamma']} after epochs {', '.join(map(str, training['milestones']))}"
        if training["schedule"] == "steps"
        else f"cosine; warm-up, in epochs: {training['warmup_epochs']:g}"
    )
    mixing = "No mixing."
    if mix["method"] != "none":
        options = ", ".join(f"{key} {value}" for key, value in mix["options"].items())
        mixing = (
            f"Mixing: {method_label(run.mix)} (`{mix['method']}`) on {training['mix_prob']:.0%} of "
            f"the batches{f' ({options})' if options else ''}."
        )
    nesterov = "Nesterov " if training["nesterov"] else ""
    lines = [
        f"- SGD, {nesterov}momentum {training['momentum']}, weight decay "
        f"{training['weight_decay']:g}, learning rate {training['learning_rate']:g} ({schedule})",
        f"- {training['epochs']} epochs, batch {training['batch_size']}, seed {seed}, "
        f"augmentation: {training['augment']}",
        f"- {mixing}",
    ]
    if "seconds" in run.summary:
        device = run.described.get("device", "an unnamed device")
        lines.append(f"- {run.summary['seconds']:.0f} seconds on {device}")
    return "\n".join(lines)


def _errors(run: RunFolder, seeds: Sequence[RunFolder], data: dict[str, Any]) -> str:
    test_images = data.get("counts", {}).get("test")
    lines = [
        "| Weights | Epoch | Top-1 error | 95 % interval | Top-5 error |",
        "|---|---:|---:|---:|---:|",
    ]
    names = {
        "last": "last",
        "best_validation": "best validation epoch",
        "best_test": "best on test (optimistic)",
    }
    for which, label in names.items():
        found = run.summary.get(which)
        if not isinstance(found, dict) or "top1_error" not in found:
            continue
        interval = _wilson(found["top1_error"], test_images) if test_images else "–"
        lines.append(
            f"| {label} | {found.get('epoch', '–')} | {found['top1_error']:.2f} % | {interval} | "
            f"{found.get('top5_error', float('nan')):.2f} % |"
        )
    if len(lines) == 2:
        return "The run has no summary."
    parts = ["\n".join(lines)]
    if test_images:
        parts.append(f"Wilson intervals for {test_images:,} test images.")
    errors = [other.summary["last"]["top1_error"] for other in seeds if "last" in other.summary]
    if len(errors) > 1:
        mean, deviation = spread(errors)
        parts.append(
            f"All {len(errors)} seeds, last epoch: top-1 error {mean:.2f} ± {deviation:.2f} % "
            "(mean ± standard deviation)."
        )
    return "\n\n".join(parts)


def _further(run: RunFolder) -> str:
    rows = [
        f"| {label} | {run.metrics[key]:.2f}{unit} |"
        for key, (label, unit) in _ROBUSTNESS.items()
        if key in run.metrics
    ]
    return "\n".join(["| Last weights | |", "|---|---:|", *rows]) if rows else ""


def _limits(run: RunFolder, data: dict[str, Any], training: dict[str, Any]) -> str:
    lines = [
        f"- It knows these {len(data['classes'])} classes only and names one of them always.",
        "- The intervals are for images drawn like the test images; other cameras, crops or "
        "resolutions are another matter.",
    ]
    if "mean_corruption_error" in run.metrics and "top1_error" in run.metrics:
        lines.append(
            f"- Common corruptions raise its error from {run.metrics['top1_error']:.2f} % to "
            f"{run.metrics['mean_corruption_error']:.2f} % on average."
        )
    if "ece" in run.metrics:
        lines.append(
            f"- Its confidence is off by {run.metrics['ece']:.2f} points on average; divide the "
            "logits by the temperature, where one is given, before reading them as probabilities."
        )
    if _validation_error(run) == 1000:
        lines.append("- Without a validation split only the last epoch's error is unbiased.")
    return "\n".join(lines)


def _loading(run: RunFolder) -> str:
    path = run.path.as_posix() if not run.path.is_absolute() else "/".join(run.path.parts[-4:])
    return (
        "```python\nfrom pathlib import Path\n\n"
        "from saliencymixplus.runs.read import load_run\n\n"
        f'model = load_run(Path("{path}")).model("last")  # on the CPU, in evaluation mode\n'
        "logits = model((images - mean) / std)  # images: (B, 3, H, W) in [0, 1]\n```\n\n"
        f"The weights are plain safetensors: `{path}/weights/last.safetensors`, described by "
        "`last.json` beside it."
    )


def _validation_error(run: RunFolder) -> float:
    """Of the best validation epoch, in percent; 1000 where there is no validation split."""
    found = run.summary.get("best_validation")
    value = found.get("validation_top1_error") if isinstance(found, dict) else None
    return 1000.0 if value is None else float(value)


def _wilson(error: float, images: int) -> str:
    """95 % interval of an error in percent (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(error / 100 * images), images).proportion_ci(method="wilson")
    return f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
