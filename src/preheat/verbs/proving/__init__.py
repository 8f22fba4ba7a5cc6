"""`prove`: timed starts under each condition."""
