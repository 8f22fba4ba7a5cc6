"""Warm-up: read what a start will read into the page cache beside it, never more than there is free memory."""
