"""Read and write image layouts and archives on disk."""
