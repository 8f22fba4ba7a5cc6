"""Transport: HTTP, and nothing that knows a hub."""
