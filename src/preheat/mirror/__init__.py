"""Serves the library in the hubs' own APIs, and downloads what it lacks."""
