"""Whether a file runs code when it is loaded, found out in a process of its own."""
