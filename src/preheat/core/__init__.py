"""Types and texts shared by all packages: refs, snapshots, digests, events, errors, translations and pages."""
