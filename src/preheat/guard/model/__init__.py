"""The guard's value types, and the life cycle of an app as pure functions."""
