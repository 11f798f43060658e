"""What a training step costs on this machine."""

from saliencymixplus.bench.steps import BenchSettings, bench, settings_for
from saliencymixplus.bench.table import table

__all__ = ["BenchSettings", "bench", "settings_for", "table"]
