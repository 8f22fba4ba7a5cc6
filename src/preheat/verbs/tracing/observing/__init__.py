"""Combine the observations of one start with the files on disk: downloads, archives and existing files."""
