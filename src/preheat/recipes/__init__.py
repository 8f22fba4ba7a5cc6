"""Recipes and locks: read and write preheat.toml and preheat.lock."""
