"""Everything that decides a weight: order, step, capture, optimizer, schedule, the epoch."""
