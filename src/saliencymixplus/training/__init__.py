"""The life cycle of a training run: start, resume, signals, hooks, publishing."""
