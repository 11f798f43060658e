"""Everything that decides a weight: order, step, capture, optimiser, schedule, the epoch."""
