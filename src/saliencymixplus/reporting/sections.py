"""The sections of a report in Markdown; a part that is missing becomes a plain sentence."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saliencymixplus.files import read_json
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting.run_data import Runs, Spread, metric
from saliencymixplus.tables import p_value

Picture = str  # a path relative to the page
Copy = Callable[[Path, str], Picture | None]
_FIGURES_IN_SHORT = {
    "top1_error": "Top-1 error (%)",
    "mean_corruption_error": "Corruptions: mean error (%)",
    "occlusion_centre_error": "Centre occlusion: mean error (%)",
    "ece": "Calibration error (%)",
    "nll": "NLL",
}
_LOCALISATION = {
    "localisation_energy": "Energy inside the object",
    "localisation_pointing": "Peak on the object",
    "localisation_iou": "IoU",
    "localisation_mask_share": "Object's share of the image",
}


def in_short(runs: Runs, compared: Path, audit: Path | None, missing: Sequence[Path]) -> str:
    """What was found, in a few lines and one table."""
    seeds = max(len(found) for found in runs.values())
    each = "up to " if len({len(found) for found in runs.values()}) > 1 else ""
    data = next(iter(runs.values()))[0].described.get("data", {})
    parts = [
        f"{_count(len(runs), 'recipe')}, {each}{_count(seeds, 'seed')} each, on "
        f"{data.get('name', 'the data')} ({len(data.get('classes', []))} classes)."
    ]
    lines = _verdicts(compared)
    truth = None if audit is None else _audit_verdict(audit)
    if truth:
        lines.append(f"Labels: {truth}")
    if lines:
        parts.append("\n".join(f"- {line}" for line in lines))
    table = _figures(runs, _FIGURES_IN_SHORT)
    if table:
        parts += [
            table,
            "Means ± standard deviation over seeds at the last epoch; bold: the lowest mean, "
            "which alone says nothing about chance.",
        ]
    if missing:
        names = ", ".join(f"`{'/'.join(folder.parts[-2:])}`" for folder in missing)
        parts.append(f"Not trained yet, and so not on this page: {names}.")
    return "\n\n".join(["## In short", *parts])


def comparison_section(folder: Path, copy: Copy) -> str:
    """The comparison's tables, error bars and Pareto plot."""
    page = folder / "comparison.md"
    if not page.is_file():
        return "## Comparison\n\nThe runs have not been compared (`python cli.py compare`)."
    pictures = [
        (copy(folder / "comparison.png", "comparison.png"), "Top-1 error with 95 % intervals."),
        (copy(folder / "pareto.png", "pareto.png"), "Error against training time."),
    ]
    text = _demoted(page.read_text(encoding="utf-8"))
    return "\n\n".join(["## Comparison", _shown(pictures), text])


def figures_section(
    title: str, pictures: Sequence[tuple[Picture | None, str]], otherwise: str
) -> str:
    """A heading and its pictures, or a sentence."""
    return f"## {title}\n\n{_shown(pictures) or otherwise}"


def localisation_section(runs: Runs) -> str:
    """Where class-activation maps look, against object masks."""
    table = _figures(runs, _LOCALISATION, scale=100, unit=" %", lowest=False)
    text = table or "The evaluation measured no localisation (it takes object masks)."
    note = (
        "\n\nClass-activation maps of the true class against the masks of the test images. The "
        "object's share of the image is what a map that knows nothing would score."
        if table
        else ""
    )
    return f"## Localisation\n\n{text}{note}"


def audit_section(folder: Path | None, copy: Copy) -> str:
    """The label-noise audit with its plots and worst cases."""
    page = None if folder is None else folder / "audit.md"
    if folder is None or page is None or not page.is_file():
        return (
            "## Label-noise audit\n\nThe labels have not been audited "
            "(`python cli.py audit`; it takes data with object masks)."
        )
    result = folder / "audit.json"
    if result.is_file() and (reason := read_json(result).get("skipped")):
        return f"## Label-noise audit\n\nThe labels were not audited: {reason}."
    plots = [
        (copy(folder / "errors.png", "audit_errors.png"), "Label errors with 95 % intervals."),
        (copy(folder / "scatter.png", "audit_scatter.png"), "Assigned λ against the true λ*."),
        (
            copy(folder / "along_training.png", "audit_along_training.png"),
            "Label error with the weights of single epochs.",
        ),
    ]
    worst = [
        (
            copy(path, f"audit_{path.name}"),
            f"{method_label(path.stem.removeprefix('worst_'))}: its labels furthest from the "
            "truth; objects outlined.",
        )
        for path in sorted(folder.glob("worst_*.png"))
    ]
    text = _demoted(page.read_text(encoding="utf-8"))
    summary, heading, rest = text.partition("\n### ")
    parts = ["## Label-noise audit", summary.strip(), _shown(plots), heading.strip() + " " + rest]
    if worst:
        parts += ["### Worst labels", _shown(worst)]
    return "\n\n".join(parts)


def samples_section(runs: Runs, copy: Copy) -> str:
    """For each recipe the last grid of mixed samples of its first seed."""
    pictures = []
    for mix, seeds in runs.items():
        grids = seeds[0].samples
        if grids:
            caption = f"{method_label(mix)}, {grids[-1].stem.replace('_0', ' ').replace('_', ' ')}"
            pictures.append((copy(grids[-1], f"samples_{mix}.png"), _epoch(caption)))
    return figures_section("Mixed samples", pictures, "The runs kept no grids of mixed samples.")


def provenance(runs: Runs, experiment: str) -> str:
    """What the figures come from, and the commands that make them again."""
    lines = ["| Run | Digest | Data | Device | Seconds |", "|---|---|---|---|---:|"]
    for seeds in runs.values():
        for run in seeds:
            data = run.described.get("data", {})
            lines.append(
                f"| {run.mix}, seed {run.seed} | `{run.described.get('digest', '–')}` | "
                f"{data.get('name', '–')} `{str(data.get('digest', '–'))[:12]}` | "
                f"{run.described.get('device', '–')} | {run.summary.get('seconds', '–')} |"
            )
    commands = (
        f"```\npython cli.py compare --experiment {experiment}\n"
        f"python cli.py audit --experiment {experiment}\n"
        f"python cli.py report --experiment {experiment}\n```"
    )
    return "\n\n".join(
        ["## Where the figures come from", "\n".join(lines), f"Made again by:\n\n{commands}"]
    )


def _verdicts(folder: Path) -> list[str]:
    """Per table: the recipe with the lowest error at the last epoch, and its difference."""
    path = folder / "comparison.json"
    if not path.is_file():
        return []
    lines = []
    for table in read_json(path).get("tables", []):
        rows = [row for row in table["rows"] if "last" in row["errors"]]
        if len(rows) < 2:
            continue
        best = min(rows, key=lambda row: row["errors"]["last"]["top1_error"]["mean"])
        errors = best["errors"]["last"]
        line = (
            f"{table['title']}: lowest top-1 error at the last epoch: "
            f"{method_label(best['name'])}, {_summary(errors['top1_error'])} %"
        )
        gap = errors.get("difference")
        if gap:
            # The bootstrap leaves out how training varies from seed to seed: the weaker of the
            # two tests speaks.
            p = max(gap["p_value"], gap.get("seeds_p_value") or 0.0)
            line += (
                f": {gap['difference']:+.2f} points [{gap['low']:+.2f}, {gap['high']:+.2f}] "
                f"against {method_label(table['baseline'])}, p {p_value(p)}"
            )
            line += ", which may be chance." if p >= 0.05 else "."
        else:
            line += ", the baseline."
        lines.append(line)
    return lines


def _audit_verdict(folder: Path) -> str:
    """The paragraph of audit.md that says whose labels are truer."""
    path = folder / "audit.md"
    if not path.is_file():
        return ""
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    return next((part for part in paragraphs if "off by" in part), "")


def _figures(
    runs: Runs,
    columns: Mapping[str, str],
    scale: float = 1,
    unit: str = "",
    lowest: bool = True,
) -> str:
    """A table of means ± s.d. over seeds; columns that no run has are left out."""
    known = {
        key: {mix: metric(seeds, key) for mix, seeds in runs.items()}
        for key in columns
        if any(metric(seeds, key) for seeds in runs.values())
    }
    if not known:
        return ""
    lines = [
        "| Recipe | " + " | ".join(columns[key] for key in known) + " |",
        "|---|" + "---:|" * len(known),
    ]
    for mix, seeds in runs.items():
        cells = []
        for values in known.values():
            value = values[mix]
            means = [other[0] for other in values.values() if other]
            text = "–" if value is None else _spread(value, scale, unit, len(seeds) > 1)
            best = lowest and value is not None and len(means) > 1 and value[0] == min(means)
            cells.append(f"**{text}**" if best else text)
        lines.append(f"| {method_label(mix)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(pictures: Sequence[tuple[Picture | None, str]]) -> str:
    return "\n\n".join(f"![{text}](<{path}>)" for path, text in pictures if path is not None)


def _demoted(markdown: str) -> str:
    """Without its title, and every heading one level lower."""
    body = re.sub(r"\A# .*\n+", "", markdown)
    return re.sub(r"^(#{2,5}) ", r"#\1 ", body, flags=re.MULTILINE).strip()


def _epoch(text: str) -> str:
    return re.sub(r"epoch 0*(?=\d)", "epoch ", text) + "."


def _spread(value: Spread, scale: float, unit: str, several: bool) -> str:
    mean, deviation = value
    text = f"{mean * scale:.2f}"
    return f"{text} ± {deviation * scale:.2f}{unit}" if several else text + unit


def _summary(found: Mapping[str, Any]) -> str:
    text = f"{found['mean']:.2f}"
    return text if found.get("sd") is None else f"{text} ± {found['sd']:.2f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
