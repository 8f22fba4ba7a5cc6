"""Images in registries as sources of models' files: `pull --from`."""
