"""Combine what was observed of one start with the files on disk: downloads, archives, and files that were there."""
