"""Code that the app's Python imports first: mapped checkpoints, import times, the tracer."""
