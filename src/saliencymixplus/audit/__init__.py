"""Label noise: the λ a method assigns, compared with the objects visible in the mixed image."""
