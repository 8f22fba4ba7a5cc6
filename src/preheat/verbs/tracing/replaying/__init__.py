"""Replay an app from its recipe and the library alone, and find the links that it accepts."""
