"""Memory snapshots of apps, with a real CRIU."""
