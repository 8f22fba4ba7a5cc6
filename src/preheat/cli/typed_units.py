"""Typed units: parse the sizes, rates, times and addresses that users type."""

import re
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_size(text: str) -> int:
    """Parse a size in bytes, or a rate in bytes per second; units are decimal: `50M` is 50,000,000."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([KMGT]?)B?(?:/s)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="a number with K, M or G: 500K, 50M, 1.5G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def read_seconds(text: str) -> float:
    """Parse a time into seconds: `40ms`, `3s`, `2m`, or a number of seconds."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(ms|s|m|h|d)?", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time", hint="a number with ms, s, m, h or d: 40ms, 3s, 10m, 7d")
    return float(match[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0, "d": 86400.0}.get(match[2], 1.0)


def read_period(text: str) -> int:
    """Parse the time between two health checks into seconds: a whole number, as Kubernetes requires."""
    seconds = read_seconds(text)
    if seconds < 1 or seconds != int(seconds):
        raise UsageError(f"health checks cannot be {text} apart", hint="whole seconds: --health-interval 10s")
    return int(seconds)


def read_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `[::1]:PORT` or `:PORT`; the last one means all addresses of this machine."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):(\d{1,5})", text.strip())
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"{text!r} is not an address", hint="HOST:PORT: 127.0.0.1:8000, 0.0.0.0:8000")
    return match[1] or match[2] or "0.0.0.0", int(match[3])  # noqa: S104 - the user chose it


def read_upstream_token(words: str) -> tuple[str, str]:
    """Parse `URL=FILE`; return the upstream's URL and the token in the file. Raise UsageError if either is invalid."""
    url, _, name = words.rpartition("=")
    try:
        token = read_regular(Path(name).expanduser()).decode("ascii").strip()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"the token file {name!r} cannot be read", hint="--upstream-token URL=FILE") from error
    if not url.startswith(("http://", "https://")) or not re.fullmatch(r"[!-~]{1,4096}", token):
        raise UsageError(
            f"{name!r} contains no valid token for {url!r}",
            hint="--upstream-token URL=FILE, with only the token in FILE",
        )
    return url.rstrip("/"), token
