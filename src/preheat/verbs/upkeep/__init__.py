"""`status`, `adopt`, `verify`, `rm` and `prune`: show and maintain the library."""
