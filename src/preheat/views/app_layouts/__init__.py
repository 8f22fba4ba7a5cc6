"""App layouts: the model folders of apps; the place of a file in them depends on its kind."""
