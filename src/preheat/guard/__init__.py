"""A program that starts, watches and restarts an app; standard library only, down to Python 3.8."""
