"""`trace`: observe one start of an app, and write its recipe."""
