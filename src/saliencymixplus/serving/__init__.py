"""Classify images in any form: used by ``predict`` and copied into every MLflow model."""
