"""Words: the sizes, rates, times and addresses that people type."""

import re
from pathlib import Path

from preheat.core.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_size(text: str) -> int:
    """Read decimal bytes: `50M` is 50,000,000. A rate is the same a second."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)([KMGT]?)B?(?:/s)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="a number and K, M or G: 500K, 50M, 1.5G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def read_seconds(text: str) -> float:
    """Read a time: `40ms`, `3s`, `2m`, or bare seconds."""
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)(ms|s|m|h)?", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time", hint="a number and ms, s, m or h: 40ms, 3s, 10m")
    return float(match[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(match[2], 1.0)


def read_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT` or `:PORT`, which is every address of this machine."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):(\d{1,5})", text.strip())
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"{text!r} is not an address", hint="HOST:PORT: 127.0.0.1:8000, 0.0.0.0:8000")
    return match[1] or match[2] or "0.0.0.0", int(match[3])  # noqa: S104 - asked for


def read_upstream_token(words: str) -> tuple[str, str]:
    """Read `URL=FILE`: an upstream's address and the token in the file; raise UsageError."""
    url, _, name = words.rpartition("=")
    try:
        token = Path(name).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise UsageError(f"{name!r} cannot be read as a token", hint="--upstream-token URL=FILE") from error
    if not url.startswith(("http://", "https://")) or not re.fullmatch(r"[!-~]{1,4096}", token):
        raise UsageError(
            f"{name!r} holds no token for {url!r}", hint="--upstream-token URL=FILE, the token alone in it"
        )
    return url.rstrip("/"), token
