"""Image configs: how a container starts, what an image contains, and its annotations."""
