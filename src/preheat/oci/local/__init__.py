"""Read and write image layouts and archives on disk, and the stores of podman and docker."""
