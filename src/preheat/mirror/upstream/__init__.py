"""Pull-through: what is missing is downloaded while it is served."""
