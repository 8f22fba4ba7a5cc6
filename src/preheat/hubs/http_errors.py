"""HTTP errors of all hubs: the statuses to retry, and the wait before a retry."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from preheat.core.errors import HubUnavailable


def read_temporary(status: int, headers: Mapping[str, str], what: str, token: str) -> HubUnavailable | None:
    """Return the error for a temporary status, else None. `what`, `token` (a variable's name): for the message."""
    if status == 429:
        return HubUnavailable(
            f"{what}: the hub asked to slow down (429)",
            hint=f"wait, use fewer --connections, or set {token}: accounts have higher limits",
            wait_s=read_wait_s(headers),
            status=status,
        )
    if status == 408 or status >= 500:
        return HubUnavailable(
            f"{what}: the hub answered {status}",
            hint="try again, or another --endpoint",
            wait_s=read_wait_s(headers),
            status=status,
        )
    return None


def read_expired(status: int, what: str) -> HubUnavailable | None:
    """Return the error for a 401 or 403 from the storage that a hub redirects to, else None.

    The redirect's signed address may have expired; a new request to the hub returns a new one.
    """
    if status not in (401, 403):
        return None
    return HubUnavailable(
        f"{what}: the hub's storage denies access ({status}); its signed address may have expired",
        hint="pull again to get a new address, or try another --endpoint",
        status=status,
    )


def read_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait that the hub asks for (Retry-After or RateLimit) in seconds, or None."""
    lower = {name.lower(): value for name, value in headers.items()}
    after = lower.get("retry-after", "")
    if seconds := re.fullmatch(r"\s*([0-9]{1,9})\s*", after):
        return float(seconds[1])
    try:
        # The difference of two times of the hub does not depend on the local clock.
        waiting = parsedate_to_datetime(after) - parsedate_to_datetime(lower.get("date", ""))
        return max(0.0, waiting.total_seconds())
    except (ValueError, TypeError, OverflowError):
        pass
    # As Hugging Face sends it: RateLimit: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers).
    limit = re.search(r";\s*t=([0-9]{1,9})\b", lower.get("ratelimit", ""))
    return float(limit[1]) if limit else None
