"""One file per mixing method."""
