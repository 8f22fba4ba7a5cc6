"""Reproducible tar layers: the same files always give the same bytes."""
