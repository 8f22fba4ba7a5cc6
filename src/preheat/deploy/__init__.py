"""Write a recipe as files for systemd, compose, Kubernetes and docker, and the guard as a single file."""
