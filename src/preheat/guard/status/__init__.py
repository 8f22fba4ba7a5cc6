"""Status page and metrics."""
