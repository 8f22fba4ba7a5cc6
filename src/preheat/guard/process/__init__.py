"""Start an app, and stop it without leaving any of its processes behind."""
