"""Metadata about blobs: records of versions, pins, claims, seals, scan results."""
