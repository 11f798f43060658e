"""Use a trained network: classify new pictures, export it for other programs."""
