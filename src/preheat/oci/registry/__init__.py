"""A registry over HTTP: logins, pull and push."""
