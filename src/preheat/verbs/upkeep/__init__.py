"""`adopt`, `verify`, `rm` and `prune`: the verbs that look after the library."""
