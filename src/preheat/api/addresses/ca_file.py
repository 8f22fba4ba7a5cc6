"""CA file: the certificates to trust instead of the system's."""

from pathlib import Path

from preheat.config import CA_FILES
from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular, why


def read_ca_file(path: Path | None) -> bytes | None:
    """Return the content of the CA file that the environment names; None without one. Raise UsageError."""
    if path is None:
        return None
    try:
        return read_regular(path)
    except OSError as error:
        raise UsageError(
            f"the CA file {path} cannot be read: {why(error)}", hint=f"check {' and '.join(CA_FILES)}"
        ) from error
