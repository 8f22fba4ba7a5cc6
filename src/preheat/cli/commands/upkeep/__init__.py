"""The verbs that look after the library."""
