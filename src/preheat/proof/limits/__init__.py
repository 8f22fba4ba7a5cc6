"""The best that this machine and its line can do."""
