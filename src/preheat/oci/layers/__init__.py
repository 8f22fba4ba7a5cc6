"""Files as tar layers whose bytes depend on nothing but the files."""
