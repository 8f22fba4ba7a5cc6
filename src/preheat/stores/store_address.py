"""Store address: the bucket of an object store, and the prefix of preheat's keys in it."""

import re
from dataclasses import dataclass
from typing import Self

from preheat.core.errors import UsageError
from preheat.core.ref import AZURE, GCS, S3, STORE_PATH, STORES
from preheat.core.secret_text import one_line

_NAMES = {S3: "S3", GCS: "Google Cloud Storage", AZURE: "Azure"}
HINT = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A bucket (in Azure a container) and a prefix in it, without slashes at its ends; `scheme`: s3, gs or az."""

    scheme: str
    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `s3://BUCKET/PREFIX`. Raise UsageError for anything else; the prefix may be empty."""
        scheme, colon, rest = text.partition(":")
        path = rest.rstrip("/")
        if not colon or scheme not in STORES or not re.fullmatch(STORE_PATH, path):
            raise UsageError(f"{one_line(text)!r} is not a place in an object store", hint=HINT)
        bucket, _, prefix = path.removeprefix("//").partition("/")
        return cls(scheme, bucket, prefix)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}{f'/{self.prefix}' if self.prefix else ''}"

    @property
    def service(self) -> str:
        """Return the name of the service, for messages."""
        return _NAMES[self.scheme]
