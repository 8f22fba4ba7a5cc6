"""Parallel downloads from all sources into the library, in parts."""
