"""Cold, preloaded, warm: set up, and checked."""
