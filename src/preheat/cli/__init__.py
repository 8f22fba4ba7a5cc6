"""The command: words in, objects wired, results printed."""
