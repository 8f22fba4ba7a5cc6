"""The loop that starts, watches, restarts and stops an app."""
