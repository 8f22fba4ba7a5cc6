"""Serve HTTP, without any knowledge of hubs."""
