"""Check whether the app is alive, and whether it is ready."""
