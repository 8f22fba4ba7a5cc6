"""Which bytes to request, over how many connections, how fast; no threads, no locks."""
