"""`trace`: one start of an app, observed, and its recipe."""
