"""The loop that starts, monitors, restarts and stops an app."""
