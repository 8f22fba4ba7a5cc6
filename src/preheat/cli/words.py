"""Words: the sizes, rates and times that people type, and how we say them back."""

import re
from pathlib import Path

from preheat.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_size(text: str) -> int:
    """Read decimal bytes: `50M` is 50,000,000. A rate is the same a second."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?(?:/s)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{text!r} is not a size", hint="a number and K, M or G: 500K, 50M, 1.5G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def read_seconds(text: str) -> float:
    """Read a time: `40ms`, `3s`, `2m`, or bare seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a time", hint="a number and ms, s, m or h: 40ms, 3s, 10m")
    return float(match[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(match[2], 1.0)


def say_size(size: float) -> str:
    """Say bytes as people do: `138.7 MB`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if abs(size) >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"


def say_seconds(seconds: float) -> str:
    """Say a time as people do: `0.84 s`, `12.3 s`, `28 min 12 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


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
