"""File I/O: hashing, temporary files, buffers, and splicing from sockets to files."""
