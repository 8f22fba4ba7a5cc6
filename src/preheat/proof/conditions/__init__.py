"""Set up and check the conditions of a start: cold, preloaded and warm."""
