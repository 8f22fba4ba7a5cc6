"""File I/O: hashing, temporary files and buffers."""
