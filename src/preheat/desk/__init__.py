"""Desk: the model folders of apps on this machine: which apps, where their folders are, what their files are."""
