"""Threads: how the calling thread waits for others."""
