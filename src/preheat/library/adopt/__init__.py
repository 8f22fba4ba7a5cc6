"""Caches of other programs: read, and taken into the library."""
