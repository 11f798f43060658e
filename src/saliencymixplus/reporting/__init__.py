"""Figures, tables and pages made from what was measured."""
