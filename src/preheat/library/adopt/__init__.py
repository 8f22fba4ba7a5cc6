"""Adopt: read the model caches of other programs, and add their files to the library."""
