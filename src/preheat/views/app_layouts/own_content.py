"""Own content: the content of a small file that only preheat writes; a file of another program is kept as it is."""

from dataclasses import dataclass

from preheat.views.view_protocol import PriorNote


@dataclass(frozen=True, slots=True)
class OwnContent:
    """Returns `body`, unless the file has other content that preheat did not write. See ViewNote."""

    body: bytes

    def __call__(self, before: PriorNote) -> bytes | None:
        """Return the content to write; None to leave the file unchanged."""
        return self.body if before.body in (None, self.body) or before.ours else None
