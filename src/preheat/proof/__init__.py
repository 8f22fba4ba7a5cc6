"""Measure, explain and report how much faster an app starts when preloaded."""
