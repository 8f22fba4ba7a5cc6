"""What an app needs: preheat.toml and preheat.lock, read and written."""
