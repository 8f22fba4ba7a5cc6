"""The hubs' APIs as routes: from request to response, without a socket."""
