"""One file per layout; its docstring describes the format byte by byte."""
