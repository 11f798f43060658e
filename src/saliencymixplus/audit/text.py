"""The label-noise audit in words and tables (Markdown)."""

import math
from collections.abc import Mapping
from typing import Any

from saliencymixplus.audit.statistics import METRICS, Difference, Estimate
from saliencymixplus.pictures.style import method_label

MINUS = "\N{MINUS SIGN}"
MISSING = "–"
_COLUMNS = {
    "mean_absolute_error": "Label error",
    "area_mean_absolute_error": "Area label's error",
    "bias": "Bias",
    "correlation": "Correlation",
    "spread": "Spread of λ*",
    "no_object": "No object pasted",
}
_PIXEL_COLUMNS = {
    "pixel_mean_absolute_error": "Label error",
    "pixel_bias": "Bias",
    "pixel_correlation": "Correlation",
}
_SHARES = {"no_object", "hidden_object", "nothing_visible"}
_SIGNED = {"bias", "pixel_bias", "area_gap"}  # may be of either sign: a plus is printed as well
# Without interval, for the width of a page.
_BARE = {"area_mean_absolute_error", "correlation", "spread"}


def markdown(
    found: Mapping[str, Mapping[str, Estimate]],
    gaps: Mapping[str, Mapping[str, Difference]],
    epochs: Mapping[str, Mapping[int, Mapping[str, Estimate]]],
    details: Mapping[str, Any],
    baseline: str,
) -> str:
    """The page audit.md: what was measured, which label is truer and by how much."""
    data, settings = details["data"], details["settings"]
    ranked = sorted(found, key=lambda name: found[name]["mean_absolute_error"].value)
    parts = [
        f"# Label-noise audit: {data['name']}",
        f"{settings['images']} mixed images of each recipe, from the "
        f"{details['annotated_images']} annotated images of the {data['split']} split, at "
        f"{details['input_size']} pixels without augmentation. λ is the weight that a label gives "
        "to image a; the true λ* = v_a / (v_a + v_b), where v is the share of an image's own "
        "object that is still visible in the mixed image. Brackets: 95 % bootstrap intervals "
        f"({settings['resamples']} resamples of batches of {settings['batch_size']}).",
        _repeats(settings["images"], details["annotated_images"]),
        _borrowed(details.get("trained_with", {})),
        verdict(found, gaps, baseline),
        "## Labels against the visible share of each object",
        table(found, _COLUMNS, ranked),
        "Label error: mean |λ − λ*|. Area label's error: the same, had the label been the share "
        "of pixels. Bias: mean λ − λ*. No object pasted: pasted regions without one object pixel "
        "of b. Spread: s.d. of λ*. An error is "
        "to be read beside the spread: a method whose λ* hardly varies is off by little whatever "
        "it does, and mixup, which shows all of both objects, is right by construction. Every "
        "interval is under All metrics.",
        "## Labels against visible object pixels",
        table(found, _PIXEL_COLUMNS, ranked),
        "Here λ* counts pixels: a's visible object pixels over those of both, so that a larger "
        "object weighs more, and one that was shrunk (resizemix) less.",
    ]
    averaged = [
        name
        for name in found
        if details["recipes"][name]["options"].get("reduction") == "batch_mean"
    ]
    if averaged:
        lines = [
            f"{method_label(name)}: {_cell(found[name]['effective_mean_absolute_error'])}"
            for name in averaged
        ]
        parts += [
            "## Labels that reach the gradient",
            "A loss that averages λ over the batch gives every sample the batch's mean. Label "
            f"error of that mean: {'; '.join(lines)}.",
        ]
    parts += [f"## Differences from {method_label(baseline)}", _differences(gaps, baseline, ranked)]
    if epochs:
        parts += ["## Along training", *_epochs(epochs)]
    parts += ["## All metrics", _all(found, ranked)]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """What audit.json says of each recipe, truest first, in lines that fit a terminal."""
    if "skipped" in result:
        return [f"nothing to audit: {result['skipped']}"]
    lines = [f"{'':<26}label error  [95 % interval]     bias  correlation  no object"]
    mixes = result["mixes"]
    for name in sorted(mixes, key=lambda name: mixes[name]["mean_absolute_error"]):
        found = mixes[name]
        error, low, high, bias, correlation, none = (
            found.get(key, math.nan)
            for key in (
                "mean_absolute_error",
                "mean_absolute_error_low",
                "mean_absolute_error_high",
                "bias",
                "correlation",
                "no_object",
            )
        )
        lines.append(
            f"{method_label(name):<26}{error:11.3f}  [{low:.3f}, {high:.3f}]   "
            f"{bias:+7.3f}  {correlation:11.3f}  {none:8.1%}"
        )
    return lines


def _repeats(images: int, annotated: int) -> str:
    """What the intervals leave out where images are mixed several times."""
    if images <= annotated:
        return ""
    return (
        f"Every image comes up about {images / annotated:.1f} times, in other mixes. "
        "The intervals say how far new mixes of these images would differ; for other images they "
        "are too narrow."
    )


def _borrowed(trained_with: Mapping[str, list[str]]) -> str:
    """Which recipes were audited with networks that others had trained."""
    lines = [
        f"{method_label(name)}: {', '.join(method_label(other) for other in others)}"
        for name, others in trained_with.items()
        if others != [name]
    ]
    return f"Networks trained with another recipe: {'; '.join(lines)}." if lines else ""


def verdict(
    found: Mapping[str, Mapping[str, Estimate]],
    gaps: Mapping[str, Mapping[str, Difference]],
    baseline: str,
) -> str:
    """One paragraph: whose label is truer than the baseline's, and by how much."""
    truer: list[str] = []
    falser: list[str] = []
    alike: list[str] = []
    for name in found:
        if name == baseline:
            continue
        gap = gaps[f"{name}-{baseline}"]["mean_absolute_error"]
        text = f"{method_label(name)} ({_cell(gap, sign=True)})"
        (truer if gap.high < 0 else falser if gap.low > 0 else alike).append(text)
    error = found[baseline]["mean_absolute_error"]
    sentences = [f"{method_label(baseline)}'s labels are off by {_cell(error)} on average."]
    for names, what in ((truer, "Truer"), (falser, "Further off"), (alike, "Not told apart")):
        if names:
            sentences.append(f"{what}: {', '.join(names)}.")
    return " ".join(sentences)


def table(
    found: Mapping[str, Mapping[str, Estimate]],
    columns: Mapping[str, str],
    names: list[str],
) -> str:
    """A Markdown table of estimates with intervals, a row per recipe."""
    lines = [
        "| Recipe | " + " | ".join(columns.values()) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in names:
        cells = [
            _number(found[name][metric].value)
            if metric in _BARE
            else _cell(found[name][metric], metric in _SHARES, metric in _SIGNED)
            for metric in columns
        ]
        lines.append(f"| {method_label(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _differences(
    gaps: Mapping[str, Mapping[str, Difference]], baseline: str, names: list[str]
) -> str:
    metrics = ("mean_absolute_error", "pixel_mean_absolute_error", "no_object")
    lines = [
        "| Recipe | Label error | p | Label error, by pixels | p | No object pasted | p |",
        "|---|" + "---:|" * 6,
    ]
    for name in names:
        if name != baseline:
            row = [gaps[f"{name}-{baseline}"][metric] for metric in metrics]
            cells = [
                part
                for metric, gap in zip(metrics, row, strict=True)
                for part in (_cell(gap, metric in _SHARES, sign=True), _p(gap.p_value))
            ]
            lines.append(f"| {method_label(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nPaired by batch; p: two-sided bootstrap, uncorrected."


def _epochs(epochs: Mapping[str, Mapping[int, Mapping[str, Estimate]]]) -> list[str]:
    columns = {key: _COLUMNS[key] for key in ("mean_absolute_error", "correlation", "no_object")}
    parts = []
    for name, by_epoch in epochs.items():
        lines = [f"| {method_label(name)}, epoch | " + " | ".join(columns.values()) + " |"]
        lines.append("|---:|" + "---:|" * len(columns))
        for epoch, values in sorted(by_epoch.items()):
            cells = [_cell(values[metric], metric in _SHARES) for metric in columns]
            lines.append(f"| {epoch} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return parts


def _all(found: Mapping[str, Mapping[str, Estimate]], names: list[str]) -> str:
    lines = ["| Metric | " + " | ".join(method_label(name) for name in names) + " |"]
    lines.append("|---|" + "---:|" * len(names))
    for metric, meaning in METRICS.items():
        cells = [_cell(found[name][metric], metric in _SHARES, metric in _SIGNED) for name in names]
        # A bar in a cell would end it.
        lines.append(f"| {meaning.replace('|', '∣')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(estimate: Estimate, share: bool = False, sign: bool = False) -> str:
    """``value [low, high]``, a share in percent."""
    scale, digits, unit = (100, 1, " %") if share else (1, 3, "")
    if not math.isfinite(estimate.value):
        return MISSING
    value, low, high = (
        _number(scale * number, digits, sign)
        for number in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value}{unit} [{low}, {high}]"


def _number(value: float, digits: int = 3, sign: bool = False) -> str:
    """Rounded, with a true minus; a zero has no sign."""
    if not math.isfinite(value):
        return MISSING
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def _p(value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
