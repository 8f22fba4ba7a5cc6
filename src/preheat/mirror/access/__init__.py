"""Who may have which repository: tokens, allow and deny patterns, TLS."""
