"""One start of an app, of which no process is left behind."""
