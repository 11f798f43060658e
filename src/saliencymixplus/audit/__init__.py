"""Label noise: the λ that a method assigns against the objects visible in the mixed image."""
