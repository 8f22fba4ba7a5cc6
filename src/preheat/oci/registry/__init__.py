"""Registries over HTTP: authentication, pull and push."""
