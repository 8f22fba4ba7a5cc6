"""Requester: the client for which upstream is contacted: its token, and the mirrors passed so far."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from preheat.core.values.replace import replace
from preheat.mirror.http.messages import Request, bearer

_LONGEST_WAY = 8


@dataclass(frozen=True, slots=True)
class Asker:
    """A client's token and, in `via`, the names of the mirrors passed so far, the first one first.

    `client`: the client's network (see `network_of`), for limits.
    """

    token: str = ""
    via: tuple[str, ...] = ()
    client: str = ""

    def named(self, token: str) -> "Asker":
        """Return a copy with another token, or none."""
        return replace(self, token=token)

    @property
    def headers(self) -> Mapping[str, str]:
        """The Via header for upstream (RFC 9110 section 7.6.3); empty without mirrors."""
        return {"Via": ", ".join(f"1.1 {name}" for name in self.via)} if self.via else {}


def read_asker(request: Request, name: str) -> Asker | None:
    """Return the requester as the mirror `name` passes it on.

    Return None for a loop, or after eight mirrors: the request must not go upstream.
    """
    told = request.headers.get("via", "")[:2000]
    via = tuple(re.findall(r"(?:^|,)\s*[0-9.]+ (preheat-[0-9a-f]{12})", told)) if told else ()
    return None if name in via or len(via) >= _LONGEST_WAY else Asker(bearer(request), (*via, name), request.client)
