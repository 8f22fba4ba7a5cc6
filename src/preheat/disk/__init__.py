"""Bytes of files: hashing, buffers, and pipes through which the kernel moves them."""
