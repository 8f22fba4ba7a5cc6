"""Image layouts and archives on disk."""
