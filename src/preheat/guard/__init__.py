"""A program that starts, monitors and restarts an app; standard library only, Python 3.8 or later."""
