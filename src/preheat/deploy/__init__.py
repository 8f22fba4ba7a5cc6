"""Write a recipe as files for systemd, compose and docker, and the guard as a single file."""
