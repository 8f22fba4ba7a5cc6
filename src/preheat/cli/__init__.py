"""The command line: parse arguments, run a verb, print its events and results."""
