"""One file a layout, each described byte by byte at its top."""
