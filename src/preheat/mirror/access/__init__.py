"""Control access: tokens, allow and deny patterns, TLS."""
