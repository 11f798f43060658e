"""Everything that affects the weights: order, step, capture, optimizer, schedule, epoch."""
