"""Intercept: answer HTTP requests in the name of other hosts, as a proxy with an authority of its own."""
