"""Bytes: whole and verified, or on their way in."""
