"""Platform: operating system, architecture and variant, as Go and docker name them."""

import platform as machine
from collections.abc import Mapping
from dataclasses import dataclass

from preheat.core.errors import UsageError

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Platform:
    """`linux/amd64`, `linux/arm/v7`."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `OS/ARCHITECTURE[/VARIANT]`; raise UsageError when it is not that."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            raise UsageError(f"{text!r} is not a platform", hint="--platform linux/amd64 or linux/arm64")
        return cls(*parts)

    @classmethod
    def of(cls, said: Mapping[str, str]) -> "Platform":
        """Read what a document says."""
        return cls(said.get("os", ""), said.get("architecture", ""), said.get("variant", ""))

    @classmethod
    def here(cls) -> "Platform":
        """Say what containers on this machine run on."""
        return cls("linux", _MACHINES.get(machine.machine().lower(), machine.machine().lower()))

    def fits(self, said: Mapping[str, str]) -> bool:
        """Whether an image that says this runs on it; arm64 is v8 whether it says so or not."""
        other = Platform.of(said)
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (not self.variant or not other.variant or self.variant == other.variant)

    @property
    def fields(self) -> dict[str, str]:
        """Say it as documents do."""
        return {"os": self.os, "architecture": self.architecture, "variant": self.variant}

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
