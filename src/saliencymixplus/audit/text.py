"""Text and tables of the label-noise audit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from saliencymixplus import escape
from saliencymixplus.audit.findings import Details, Estimates, Findings
from saliencymixplus.audit.statistics import METRICS
from saliencymixplus.bootstrap import Estimate
from saliencymixplus.pictures.style import method_label
from saliencymixplus.tables import ESTIMATE, Cell, Column, Table, Value, estimate, number, p_cell

Block = str | Table  # a paragraph or heading in Markdown, or a table
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
_EPOCH_COLUMNS = {
    "mean_absolute_error": "Label error",
    "no_object": "No object pasted",
    "map_on_object": "Map on the object",
    "peak_on_object": "Peak on the object",
}
_COMPARED = {
    "mean_absolute_error": "Label error",
    "pixel_mean_absolute_error": "Label error, by pixels",
    "no_object": "No object pasted",
}
# Shown in percent.
_FRACTIONS = {"no_object", "hidden_object", "nothing_visible"}
_FRACTIONS |= {"map_on_object", "peak_on_object", "object_area"}
_SIGNED = {"bias", "pixel_bias", "area_gap"}  # always shown with a sign
_BARE = {"area_mean_absolute_error", "correlation", "spread"}  # shown without interval, for width


def audit_markdown(found: Findings) -> str:
    """The page audit.md."""
    title = f"# Label-noise audit: {escape.markdown(found.details.data.name)}"
    blocks = (
        block if isinstance(block, str) else block.markdown() for block in report_blocks(found)
    )
    return "\n\n".join([title, *blocks]) + "\n"


def report_blocks(found: Findings) -> list[Block]:
    """What was measured, the verdict and all tables, with second-level headings."""
    names = sorted(found.estimates, key=lambda n: found.estimates[n]["mean_absolute_error"].value)
    baseline = escape.markdown(method_label(found.baseline))
    blocks: list[Block] = [
        _measured(found.details),
        _repeats(found.details),
        _borrowed(found.details),
        escape.markdown(audit_verdict(found)),
        "## Labels against the visible fraction of each object",
        estimates_table(found.estimates, _COLUMNS, names),
        "Label error: mean |λ − λ\\*|. Area label's error: the same if the label were the "
        "fraction of pixels. Bias: mean λ − λ\\*. No object pasted: pasted regions without any "
        "object pixel of b. Spread: standard deviation of λ\\*. Compare errors with the spread: "
        "if λ\\* hardly varies, any sensible label is nearly right. Mixup, which shows all of "
        "both objects, is right by construction. All metrics lists every interval.",
        "## Labels against visible object pixels",
        estimates_table(found.estimates, _PIXEL_COLUMNS, names),
        "Here λ\\* is a's fraction of all visible object pixels, so larger objects count "
        "more and shrunken ones (ResizeMix) less.",
        *_averaged(found),
    ]
    if len(names) > 1:
        blocks += [
            f"## Differences from {baseline}",
            _differences(found, names),
            "Paired by batch; p: two-sided bootstrap, not adjusted for the number of recipes.",
        ]
    if found.along_training:
        blocks.append("## Along training")
        for name, by_epoch in found.along_training.items():
            blocks += [f"### {escape.markdown(method_label(name))}", _epochs(by_epoch)]
        chance = next(iter(found.estimates.values()))["object_area"].value
        blocks.append(
            "Map on the object: the fraction of an image's saliency map that lies on its object. "
            "Peak on the object: the fraction of maps whose peak does. An uninformative map would "
            f"score {_percent(chance)} on both."
        )
    blocks += ["## All metrics", _all(found.estimates, names)]
    return [block for block in blocks if block]


def audit_verdict(found: Findings) -> str:
    """One paragraph: which labels are more accurate than the baseline's, and by how much."""
    kinds: dict[str, list[str]] = {}
    for name in found.estimates:
        if name != found.baseline:
            gap = found.against_baseline(name)["mean_absolute_error"]
            kind = "truer" if gap.high < 0 else "worse" if gap.low > 0 else "alike"
            text = f"{method_label(name)} ({_estimate(gap, signed=True).text})"
            kinds.setdefault(kind, []).append(text)
    error = _estimate(found.estimates[found.baseline]["mean_absolute_error"]).text
    sentences = [f"{method_label(found.baseline)}'s labels are off by {error} on average."]
    for kind, what in (
        ("truer", "More accurate"),
        ("worse", "Less accurate"),
        ("alike", "Not significantly different"),
    ):
        if kind in kinds:
            sentences.append(f"{what}: {', '.join(kinds[kind])}.")
    return " ".join(sentences)


def summary_table(result: Mapping[str, Any]) -> Table:
    """The main numbers in audit.json for a terminal, smallest label error first."""
    columns = [
        Column("Recipe", "left"),
        Column("Label error", parts=ESTIMATE),
        Column("Bias", format=lambda value: number(value, 3, signed=True)),
        Column("Correlation", format=lambda value: number(value, 3)),
        Column("No object", format=_percent),
    ]
    rows: list[list[Value]] = []
    by_error = sorted(result["mixes"].items(), key=lambda item: item[1]["mean_absolute_error"])
    for name, found in by_error:
        error = Estimate(*(found["mean_absolute_error" + end] for end in ("", "_low", "_high")))
        others = (found.get(key) for key in ("bias", "correlation", "no_object"))
        rows.append([method_label(name), _estimate(error), *others])
    return Table(columns, rows, "Label error with its 95 % interval")


def estimates_table(
    found: Mapping[str, Estimates], columns: Mapping[str, str], names: Sequence[str]
) -> Table:
    """Estimates with intervals, one row per recipe and one column per metric."""
    rows = [[method_label(name), *_cells(found[name], columns)] for name in names]
    return Table([Column("Recipe", "left"), *_columns(columns)], rows)


def _measured(details: Details) -> str:
    settings = details.settings
    return (
        f"{settings.images} mixed images per recipe, made from the {details.annotated_images} "
        f"annotated images of the {escape.markdown(details.data.split)} split at "
        f"{details.input_size} pixels, without augmentation. λ is the weight of image a's label; "
        "the true λ\\* = v_a / (v_a + v_b), where v is the fraction of an image's object that is "
        "still visible after mixing. Brackets: 95 % bootstrap intervals "
        f"({settings.resamples} resamples of batches of {settings.batch_size})."
    )


def _repeats(details: Details) -> str:
    """The limits of the intervals if images are used several times."""
    images, annotated = details.settings.images, details.annotated_images
    if images <= annotated:
        return ""
    return (
        f"Every image is used about {images / max(annotated, 1):.1f} times, in different mixes. "
        "The intervals cover new mixes of these images; for other images they are too narrow."
    )


def _borrowed(details: Details) -> str:
    """The recipes that were audited with networks trained with other recipes."""
    lines = [
        f"{method_label(name)}: {', '.join(map(method_label, others))}"
        for name, others in details.trained_with.items()
        if others != [name]
    ]
    text = f"Networks trained with another recipe: {'; '.join(lines)}." if lines else ""
    return escape.markdown(text)


def _averaged(found: Findings) -> list[Block]:
    """The error of the batch's mean λ, for recipes whose loss averages λ over the batch."""
    lines = [
        f"{method_label(name)}: "
        + _estimate(found.estimates[name]["effective_mean_absolute_error"]).text
        for name in found.estimates
        if found.details.recipes[name].options.get("reduction") == "batch_mean"
    ]
    if not lines:
        return []
    return [
        "## Labels that reach the gradient",
        "A loss that averages λ over the batch gives every sample the batch mean. Its label "
        f"error: {escape.markdown('; '.join(lines))}.",
    ]


def _differences(found: Findings, names: Sequence[str]) -> Table:
    columns = [Column("Recipe", "left")]
    for header in _COMPARED.values():
        columns += [Column(header, parts=ESTIMATE), Column("p")]
    rows: list[list[Value]] = []
    for name in names:
        if name == found.baseline:
            continue
        gaps = found.against_baseline(name)
        row: list[Value] = [method_label(name)]
        for metric in _COMPARED:
            gap = gaps[metric]
            row += [_estimate(gap, metric in _FRACTIONS, signed=True), p_cell(gap.p_value)]
        rows.append(row)
    return Table(columns, rows)


def _epochs(by_epoch: Mapping[int, Estimates]) -> Table:
    epoch = Column("Epoch", format=lambda epoch: number(epoch, 0))
    rows = [[at, *_cells(found, _EPOCH_COLUMNS)] for at, found in sorted(by_epoch.items())]
    return Table([epoch, *_columns(_EPOCH_COLUMNS)], rows)


def _all(found: Mapping[str, Estimates], names: Sequence[str]) -> Table:
    columns = [Column("Metric", "left")]
    columns += [Column(method_label(name), parts=ESTIMATE) for name in names]
    rows: list[list[Value]] = [
        [text, *(_metric_cell(found[name], metric) for name in names)]
        for metric, text in METRICS.items()
    ]
    return Table(columns, rows)


def _columns(headers: Mapping[str, str]) -> Iterator[Column]:
    for metric, header in headers.items():
        parts = () if metric in _BARE else ESTIMATE
        yield Column(header, format=lambda value: number(value, 3), parts=parts)


def _cells(found: Estimates, metrics: Iterable[str]) -> list[Value]:
    return [found[m].value if m in _BARE else _metric_cell(found, m) for m in metrics]


def _metric_cell(found: Estimates, metric: str) -> Cell:
    return _estimate(found[metric], metric in _FRACTIONS, signed=metric in _SIGNED)


def _estimate(found: Estimate, percent: bool = False, *, signed: bool = False) -> Cell:
    """``0.123 [0.101, 0.145]``, fractions in percent."""
    scale, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    value, low, high = (scale * bound for bound in (found.value, found.low, found.high))
    return estimate(value, low, high, digits, signed=signed, unit=unit)


def _percent(value: float) -> str:
    return number(100 * value, 1, unit=" %")
