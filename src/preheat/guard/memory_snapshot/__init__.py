"""Memory snapshots: freeze an app that is ready with CRIU, and restore it instead of starting it."""
