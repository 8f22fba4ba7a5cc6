"""Scan files for code that runs when they are loaded, in a separate process."""
