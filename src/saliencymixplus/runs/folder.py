"""Schemas for the files in a run folder.

People share run folders, so every file in one is untrusted input: nothing is used before the
models below have validated it, names become paths only if ``settings.names`` allows them, and
sizes are limited before anything is parsed or allocated.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from saliencymixplus.datasets.decode import ALL_BITS
from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import read_json
from saliencymixplus.settings import RunSettings
from saliencymixplus.settings.data import LARGEST_SIDE
from saliencymixplus.settings.faults import explain
from saliencymixplus.settings.names import Name

LARGEST_JSON = 16 * 2**20  # bytes; the names of 50,000 classes are 2 MB
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # terminals act on these


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("a class is named twice")
    return names


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("contains control characters")
    return text


Text = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Epoch = Annotated[int, Field(ge=1, le=10**6)]
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Split = Literal["train", "val", "test"]


class Record(BaseModel):
    """A JSON file or part of one; unknown keys, such as those of later versions, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DataFacts(Record):
    """The prepared data that a run was trained on."""

    digest: Digest
    name: Text
    classes: Annotated[
        list[Annotated[str, Field(max_length=1000)]],
        Field(min_length=2, max_length=50_000),
        AfterValidator(_distinct),
    ]
    image_size: tuple[Side, Side]  # (H, W) of the prepared images
    mean: tuple[Number, Number, Number]
    std: tuple[Amount, Amount, Amount]
    counts: dict[Split, Count]
    bits: Annotated[int, Field(ge=1, le=32)] = ALL_BITS  # see ``datasets.prepared.Meta``


class GitFacts(Record):
    """The commit a run was trained with; empty outside a repository."""

    commit: Text | None = None
    dirty: Text | None = None


class SettingsOnly(Record):
    """The part of settings.json that unfinished runs have, too."""

    settings: RunSettings


class RunFile(SettingsOnly):
    """settings.json of a finished run."""

    digest: Digest
    code: Digest | None = None
    data: DataFacts
    versions: dict[Text, Text] = {}
    device: Text = "an unnamed device"
    git: GitFacts = GitFacts()


class WeightsFile(Record):
    """The JSON file beside weights."""

    digest: Digest  # of the run
    sha256: Digest | None = None  # of the weights; None: by version 0.1.0


class EpochErrors(Record):
    """Errors after one epoch in percent; ``top1_error`` and ``top5_error`` are on the test split.

    Validation errors are None if there is no validation split.
    """

    epoch: Epoch
    top1_error: Percent
    top5_error: Percent
    validation_top1_error: Percent | None = None
    validation_top5_error: Percent | None = None


class Summary(Record):
    """summary.json: the final metrics of a run."""

    last: EpochErrors
    best_validation: EpochErrors | None = None
    best_test: EpochErrors | None = None
    epochs: Epoch
    seconds: Amount
    images_per_second: Amount
    forward_backward_passes: Amount
    parameters: Count
    train_images: Count


class TrackingFile(Record):
    """tracking.json: the MLflow run that a folder belongs to.

    ``attempt`` is a tag that identifies the run in any store. ``store``, called ``uri`` in version
    0.1.0, names the store it was recorded in, but connections go only to the store that the user
    configured. Times are in milliseconds since 1970.
    """

    attempt: Name
    store: Annotated[Text, Field(validation_alias=AliasChoices("store", "uri"))]
    experiment: Name
    run_name: Text
    created: Count
    params: dict[Text, Text] = {}
    tags: dict[Text, Text] = {}
    dataset: dict[Text, Annotated[str, Field(max_length=20_000)]] = {}
    status: Literal["RUNNING", "FINISHED", "FAILED", "KILLED"] = "RUNNING"
    ended: Count | None = None


Model = TypeVar("Model", bound=BaseModel)


def read_record(path: Path, model: type[Model], remedy: str = "train again") -> Model:
    """Read and validate one JSON file of a run or evaluation folder.

    Raises:
        UserError: the file is missing, too large, not JSON, or does not match ``model``; the
            message ends with ``remedy``.
    """
    content: Any = read_json(path, LARGEST_JSON)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        reason = one_line(explain(error, model))
        raise UserError(f"{path} is damaged or of another version ({reason}): {remedy}") from error


def read_tracking(run_dir: Path) -> TrackingFile | None:
    """Read tracking.json; None if the run was not recorded (``--tracker none``)."""
    path = run_dir / "tracking.json"
    if read_json(path, LARGEST_JSON) == {"tracker": "none"}:
        return None
    return read_record(path, TrackingFile, "nothing is recorded from this folder")
