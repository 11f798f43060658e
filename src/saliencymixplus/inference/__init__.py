"""Use a trained network: classes of new pictures, and files that other programs can run."""
