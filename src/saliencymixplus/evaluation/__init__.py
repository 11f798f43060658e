"""Measure one trained run."""
