"""The life of a training: start, resume, signals, hooks around its epochs, publishing."""
