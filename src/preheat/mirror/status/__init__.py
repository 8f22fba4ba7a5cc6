"""The mirror's own page, metrics and log."""
