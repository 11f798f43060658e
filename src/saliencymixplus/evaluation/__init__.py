"""Measure one finished run."""
