"""Blobs: verified files by digest, and partial downloads."""
