"""An HTTP server that knows no hub."""
