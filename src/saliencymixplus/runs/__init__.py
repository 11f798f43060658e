"""A run's folder and resume state: one writer, one reader, checkpoints."""
