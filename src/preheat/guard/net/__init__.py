"""The small HTTP server, the port relay, and network namespaces."""
