"""What the app's own Python imports first: faster reads, import times, the tracer."""
