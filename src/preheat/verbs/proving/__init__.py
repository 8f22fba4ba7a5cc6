"""`prove`: measure starts of an app under each condition."""
