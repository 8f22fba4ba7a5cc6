"""Object stores: `push`, which fills them, and stores as sources of models' files: `pull --from`."""
