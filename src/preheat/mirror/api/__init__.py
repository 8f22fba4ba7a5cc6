"""The hubs' APIs as routes: from a request to a response, without a socket."""
