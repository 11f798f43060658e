"""Download, verify, decode and prepare images."""
