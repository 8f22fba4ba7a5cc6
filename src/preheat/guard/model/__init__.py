"""The guard's values, and the pure life cycle of an app."""
