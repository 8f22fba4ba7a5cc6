"""Platform: operating system, architecture and variant, named as in Go and Docker."""

import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass

from preheat.core.errors import UsageError

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, such as `linux/amd64` or `linux/arm/v7`."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Parse `OS/ARCHITECTURE[/VARIANT]`. Raise UsageError if it is invalid."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise UsageError(f"{text!r} is not a platform", hint="--platform linux/amd64 or linux/arm64")
        return cls(*parts)

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "Platform":
        """Return the platform in a document's fields."""
        return cls(fields.get("os", ""), fields.get("architecture", ""), fields.get("variant", ""))

    @classmethod
    def here(cls) -> "Platform":
        """Return the platform of containers on this machine."""
        return cls("linux", _MACHINES.get(machine.machine().lower(), machine.machine().lower()))

    def fits(self, fields: Mapping[str, str]) -> bool:
        """Return whether an image with these fields runs on this platform. A missing variant matches any variant."""
        other = Platform.of(fields)
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (not self.variant or not other.variant or self.variant == other.variant)

    @property
    def fields(self) -> dict[str, str]:
        """Return the fields of a document."""
        return {"os": self.os, "architecture": self.architecture, "variant": self.variant}

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
