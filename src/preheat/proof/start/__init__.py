"""One timed start, observed from outside."""
