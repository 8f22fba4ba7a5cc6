"""The verbs that maintain the library."""
