"""Values: what all immutable values have in common."""
