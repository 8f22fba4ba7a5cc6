"""Config: what the environment says."""
