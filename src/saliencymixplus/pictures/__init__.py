"""Figure style, fonts, and pictures of mixed samples."""
