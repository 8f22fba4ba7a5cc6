"""HTTP errors of any hub: how long to wait before a retry, and which statuses are worth one."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from preheat.core.errors import HubUnavailable


def read_temporary(status: int, headers: Mapping[str, str], what: str, token: str) -> HubUnavailable | None:
    """Say what a status means for `what`, if it may pass by itself. `token` names the variable that has one."""
    if status == 429:
        return HubUnavailable(
            f"{what}: the hub asks to slow down",
            hint=f"wait, use fewer --connections, or set {token}: accounts have a larger allowance",
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
    """Say what a denial means that the hub itself has not signed: whoever keeps its bytes denies an old address.

    Hubs redirect to addresses that are signed for some minutes. Asking the hub again brings a new one.
    """
    if status not in (401, 403):
        return None
    return HubUnavailable(
        f"{what}: where the hub sends for it, access is denied ({status}); its signed address may have expired",
        hint="pull again: the hub signs a new one; or try another --endpoint",
        status=status,
    )


def read_wait_s(headers: Mapping[str, str]) -> float | None:
    """Hear how long the hub asks to wait; None if it does not say."""
    said = {name.lower(): value for name, value in headers.items()}
    after = said.get("retry-after", "")
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", after):
        return float(after)
    try:
        # Both times are the hub's, so that its clock and ours need not agree.
        waiting = parsedate_to_datetime(after) - parsedate_to_datetime(said.get("date", ""))
        return max(0.0, waiting.total_seconds())
    except (ValueError, TypeError, OverflowError):
        pass
    # Hugging Face's: RateLimit: "api";r=0;t=55 (draft-ietf-httpapi-ratelimit-headers).
    limit = re.search(r";\s*t=([0-9]{1,9})\b", said.get("ratelimit", ""))
    return float(limit[1]) if limit else None


def one_line(text: str, most: int = 200) -> str:
    """Make what a hub said fit on a line of ours."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
