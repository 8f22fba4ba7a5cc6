"""Serve the library through the hubs' own APIs, and download missing files."""
