"""MLflow as a projection of run folders: files first, sent from a background thread."""

from saliencymixplus.tracking.base import Status, Tracker
from saliencymixplus.tracking.opening import open_tracker, record_evaluation, record_report, retire

__all__ = ["Status", "Tracker", "open_tracker", "record_evaluation", "record_report", "retire"]
