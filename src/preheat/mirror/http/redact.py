"""Redact: an address without credentials, for logs and pages."""

import re

# What the hubs' clients ask with; of every other field, only its name is told.
_TOLD = frozenset(("blobs", "cursor", "download", "expand", "limit", "path", "recursive", "securityStatus", "source"))
_TOLD |= {"FilePath", "PageNumber", "PageSize", "Recursive", "Revision", "Root", "View"}
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}|ms-[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}")


def redact(target: str) -> str:
    """Take values out of a target's query that are nobody's business, and what looks like a token anywhere."""
    path, asked, query = target.partition("?")
    fields = (field.partition("=") for field in query.split("&"))
    told = "&".join(f"{name}={value if name in _TOLD else '*'}" if equals else name for name, equals, value in fields)
    return _TOKEN.sub("*", f"{path}{asked}{told}")
