"""Small HTTP, the port relay, network namespaces."""
