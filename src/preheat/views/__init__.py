"""Views: the library's files in the layouts that other programs expect, without a second copy."""
