"""The style of figures, fonts, and pictures of mixed samples."""
