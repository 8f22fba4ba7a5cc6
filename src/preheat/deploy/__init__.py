"""A recipe as files for systemd, compose and docker; the guard as one file."""
