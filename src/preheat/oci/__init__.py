"""OCI images: read base images, build without a daemon, push to registries."""
