"""OCI images: read, built without a daemon, pushed."""
