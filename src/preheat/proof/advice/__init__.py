"""Explain why an app starts slowly on this machine, and what would help; pure."""
