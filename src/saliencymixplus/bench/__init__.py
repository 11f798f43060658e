"""What a training step costs on this machine."""

from saliencymixplus.bench.peers import bench_peers, peers_table
from saliencymixplus.bench.settings import BenchSettings, settings_for
from saliencymixplus.bench.steps import bench
from saliencymixplus.bench.table import table
from saliencymixplus.bench.times import StepTimes, read_step_times

__all__ = [
    "BenchSettings",
    "StepTimes",
    "bench",
    "bench_peers",
    "peers_table",
    "read_step_times",
    "settings_for",
    "table",
]
