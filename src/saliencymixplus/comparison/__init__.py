"""Compare many runs: statistics, tables and plots."""
