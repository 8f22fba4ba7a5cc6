"""Redact: remove credentials from a URL, for logs and pages."""

import re

# Query parameters of the hubs' clients, kept with their values; of all others, only the name is kept.
_TOLD = frozenset(("blobs", "cursor", "download", "expand", "limit", "path", "recursive", "securityStatus", "source"))
_TOLD |= {"FilePath", "PageNumber", "PageSize", "Recursive", "Revision", "Root", "View"}
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}|ms-[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}")


def redact(target: str) -> str:
    """Replace the values of unknown query parameters, and everything that looks like a token, with `*`."""
    path, asked, query = target.partition("?")
    fields = (field.partition("=") for field in query.split("&"))
    told = "&".join(f"{name}={value if name in _TOLD else '*'}" if equals else name for name, equals, value in fields)
    return _TOKEN.sub("*", f"{path}{asked}{told}")
