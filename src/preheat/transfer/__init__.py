"""Downloads parts of files over many connections, from every source, into the library."""
