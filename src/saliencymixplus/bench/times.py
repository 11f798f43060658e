"""Read step times from a file written by ``bench --output``."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from saliencymixplus.runs.folder import Amount, Record, Side, Text, read_record
from saliencymixplus.settings import ExperimentSettings


class _Step(Record):
    method: Text
    mean_ms: Amount | None = None


class _Settings(Record):
    model: Text
    batch_size: Annotated[int, Field(ge=1)]
    prepared_size: Side


class StepTimes(Record):
    """The part of the file that reports show."""

    settings: _Settings
    hardware: Text
    steps: Annotated[list[_Step], Field(max_length=1000)]

    @property
    def milliseconds(self) -> dict[str, float]:
        """Mean time of a training step by recipe, averaged over mixed and unmixed batches."""
        return {step.method: step.mean_ms for step in self.steps if step.mean_ms is not None}

    def of(self, run: ExperimentSettings) -> bool:
        """Whether network, batch size and images match those of a run."""
        return (self.settings.model, self.settings.batch_size, self.settings.prepared_size) == (
            run.model.name,
            run.training.batch_size,
            run.data.image_size,
        )


def read_step_times(path: Path) -> StepTimes:
    """Read ``path``.

    Raises:
        UserError: it is damaged or not the output of ``bench``.
    """
    return read_record(path, StepTimes, "write it again with `bench --output`, or remove it")
