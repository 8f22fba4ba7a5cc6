"""What an app connects to, looks up and opens."""
