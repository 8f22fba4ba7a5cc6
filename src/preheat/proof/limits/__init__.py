"""Measure the best rates and times that this machine and its network connection can reach."""
