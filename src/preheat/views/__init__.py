"""The library in the layouts that other programs expect, without a second copy."""
