"""Record runs in MLflow: files are written first and uploaded by a background thread."""

from saliencymixplus.tracking.additions import (
    record_evaluation,
    record_report,
    unrecorded_evaluations,
)
from saliencymixplus.tracking.base import Kind, Status, Tracker
from saliencymixplus.tracking.opening import open_tracker, retire
from saliencymixplus.tracking.record import is_recorded

__all__ = [
    "Kind",
    "Status",
    "Tracker",
    "is_recorded",
    "open_tracker",
    "record_evaluation",
    "record_report",
    "retire",
    "unrecorded_evaluations",
]
