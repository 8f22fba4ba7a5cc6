"""Report a mirror's status: page, metrics and log."""
