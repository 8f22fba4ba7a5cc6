"""Find credentials that must not go into an image: in file names, files and texts."""
