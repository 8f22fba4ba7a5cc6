"""Images as sources of models' files: `pull --from`."""
