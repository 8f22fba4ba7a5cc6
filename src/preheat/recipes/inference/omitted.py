"""Omitted: a file that a recipe leaves out, and the reason."""

from dataclasses import dataclass

# Bytes. Smaller files are kept even if never opened: the app may check that they exist, which is no open.
LARGE = 1_000_000


@dataclass(frozen=True, slots=True)
class OmittedFile:
    """A file of `size` bytes that the recipe omits, for `reason`."""

    what: str
    size: int
    reason: str
