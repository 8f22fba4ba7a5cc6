"""Types shared by all packages: refs, snapshots, digests, events and errors."""
