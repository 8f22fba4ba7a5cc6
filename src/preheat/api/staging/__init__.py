"""Staging: fill a node's own disk before a job, from mirrors, a shared library and the hubs."""
