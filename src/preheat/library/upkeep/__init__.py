"""Upkeep: the disk usage of each version, removal of unused blobs, and verification."""
