"""How true are the labels of mixed images? Assigned λ against the visible objects."""
