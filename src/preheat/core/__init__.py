"""The nouns that every room uses: refs, snapshots, digests, events and errors."""
