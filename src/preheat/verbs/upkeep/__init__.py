"""`adopt`, `verify`, `rm` and `prune`: maintain the library."""
