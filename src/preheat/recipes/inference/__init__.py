"""A recipe, made from what was observed of one start of an app; pure."""
