"""What a training step costs on this machine."""

from saliencymixplus.bench.peers import bench_peers, peers_table
from saliencymixplus.bench.settings import BenchSettings, settings_for
from saliencymixplus.bench.steps import bench
from saliencymixplus.bench.table import table

__all__ = ["BenchSettings", "bench", "bench_peers", "peers_table", "settings_for", "table"]
