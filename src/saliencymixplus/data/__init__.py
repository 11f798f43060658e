"""Fetching, preparing and reading the images."""
