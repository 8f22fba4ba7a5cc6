"""Observe an app's connections, name lookups and file opens."""
