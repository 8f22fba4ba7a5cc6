"""Limits: maximum sizes and times for clients of the server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Sizes in bytes, times in seconds.

    A head is a request's line and its fields. `head_s` is from its first byte to its last, `idle_s` before that first
    byte. `bodies_size` is of all bodies that are being read together. A client that takes fewer than `least_rate` bytes
    a second over `slow_s` is let go.
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
