"""Own content: that of a small file which preheat alone writes; another program's file of that name stays."""

from dataclasses import dataclass

from preheat.views.view_protocol import PriorNote


@dataclass(frozen=True, slots=True)
class OwnContent:
    """Returns `body`, unless the file has other content that preheat did not write. See ViewNote."""

    body: bytes

    def __call__(self, before: PriorNote) -> bytes | None:
        """Return the content to write; None to leave the file unchanged."""
        return self.body if before.body in (None, self.body) or before.ours else None
