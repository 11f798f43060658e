"""The result of a comparison, as stored in comparison.json."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saliencymixplus.comparison.published import Published
from saliencymixplus.comparison.statistics import ErrorDifference, SeedSummary
from saliencymixplus.errors import UserError
from saliencymixplus.files import file_name, read_json
from saliencymixplus.pictures.style import method_label

WEIGHTS = {
    "last": "Last epoch",
    "best_validation": "Best validation epoch",
    "best_test": "Best test epoch (optimistic: the test images select it)",
}


@dataclass(frozen=True)
class Errors:
    """Errors in percent with one kind of weights; ``difference`` is top-1 minus the baseline's."""

    top1_error: SeedSummary
    top5_error: SeedSummary
    difference: ErrorDifference | None
    per_seed_top1_error: list[float]


def label_of(name: str, mix: str) -> str:
    """A row's printed name: the label of the recipe ``mix`` and whatever ``name`` adds to it."""
    return method_label(mix) + name.removeprefix(mix)


@dataclass(frozen=True)
class ResultRow:
    """A mixing recipe over its seeds."""

    name: str  # the recipe's name, with the settings that differ if rows share it
    mix: str  # the recipe's name in params.yaml
    seeds: list[int]
    errors: dict[str, Errors]  # by kind of weights, a key of WEIGHTS
    seconds: SeedSummary  # training time
    passes: SeedSummary  # forward and backward passes during training, one batch each
    metrics: dict[str, SeedSummary]  # the metrics present in all of the row's evaluations
    published: Published | None
    runs: list[str]
    median: SeedSummary | None = None  # of the top-1 test errors in each run's last ten epochs

    def published_beside(self, which: str) -> Published | None:
        """The published error, if it is comparable with the weights ``which``."""
        found = self.published
        return found if found and which == ("last" if found.median else "best_test") else None

    @property
    def label(self) -> str:
        """The printed name, e.g. ``SaliencyMix+ (epochs=5)``."""
        return label_of(self.name, self.mix)


@dataclass(frozen=True)
class ResultTable:
    """The recipes trained on one data set with one network.

    ``ties`` names the rows whose top-1 error with the last weights does not differ significantly
    from the lowest, in ascending order and starting with the lowest. Empty for a single row.
    """

    title: str
    experiment: str
    dataset: str
    model: str
    test_images: int
    classes: int
    devices: list[str]
    baseline: str
    rows: list[ResultRow]
    ties: list[str]
    notes: list[str] = field(default_factory=list)

    def row(self, name: str) -> ResultRow:
        """The row called ``name``."""
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Comparison:
    """All tables. ``comparison.text`` renders them; `dvc metrics` reads ``metrics``."""

    tables: list[ResultTable]

    def to_json(self) -> dict[str, Any]:
        """Convert everything to plain values."""
        return asdict(self)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics of each recipe with the weights of the last epoch, by file stem.

        ``top1_error`` in percent, the half-width of its 95 % interval over seeds, and ``seconds``
        of training. With one file per recipe, `dvc metrics show` prints one line per recipe.
        """
        several = len(self.tables) > 1
        found: dict[str, dict[str, float]] = {}
        for table in self.tables:
            for row in table.rows:
                stem = file_name(
                    f"{table.experiment}-{table.model}-{row.name}" if several else row.name
                )
                while stem in found:
                    stem += "_"
                found[stem] = _compared(row)
        return found


def load_comparison(path: Path) -> Comparison:
    """Read a comparison.json.

    Raises:
        UserError: it is missing, damaged or of another version.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Comparison).validate_python(read_json(path))
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged or of another version: run `python cli.py compare` again"
        ) from error


def _compared(row: ResultRow) -> dict[str, float]:
    """Few numbers, because `dvc exp show` has a column for each number of each recipe."""
    error = row.errors["last"].top1_error
    metrics = {"top1_error": error.mean}
    if error.half_width is not None:
        metrics["half_width_95"] = error.half_width
    metrics["seconds"] = row.seconds.mean
    return {key: round(value, 6) for key, value in metrics.items()}
