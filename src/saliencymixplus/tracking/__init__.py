"""Tracking: what a run records, kept on disk first and sent to MLflow in the background."""

from saliencymixplus.tracking.base import NoneTracker, Status, Tracker
from saliencymixplus.tracking.opening import open_report, open_tracker, reopen

__all__ = ["NoneTracker", "Status", "Tracker", "open_report", "open_tracker", "reopen"]
