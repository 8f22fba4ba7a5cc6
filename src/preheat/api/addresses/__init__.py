"""The addresses of hubs: endpoints with their tokens, the upstreams of a mirror, and the hubs of each need."""
