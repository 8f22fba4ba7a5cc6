"""Limits: maximum sizes and times for clients of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Sizes in bytes, times in seconds.

    `head_size` and `head_s` limit the request line and headers, `head_s` from their first byte to their last; `idle_s`
    limits the wait for the first byte. `bodies_size` limits all request bodies being read at a time. A client that
    receives fewer than `least_rate` bytes a second over `slow_s` is disconnected.
    """

    connections: int = 512
    head_size: int = 32_768
    target_size: int = 8_192
    fields: int = 100
    body_size: int = 4 * 1024 * 1024
    bodies_size: int = 32 * 1024 * 1024
    idle_s: float = 75.0
    head_s: float = 15.0
    body_s: float = 30.0
    least_rate: int = 1_000
    slow_s: float = 60.0
