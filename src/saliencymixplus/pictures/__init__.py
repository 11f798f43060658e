"""The look of figures and the grids of mixed samples: used wherever something is shown."""
