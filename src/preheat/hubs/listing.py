"""Listing: how much a repository's list of files may be, and how much memory all that are being read may take."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

from preheat.core.errors import HubError, MirrorBusy
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref
from preheat.net.fair_share import greediest

# A repository of 300,000 files has 300 pages with 90 MB in total.
MOST_PAGES, MOST_FILES, MOST_BYTES, MOST_S = 2_000, 500_000, 256 << 20, 1800.0
TELL_EVERY_S = 5.0
# A file of a list keeps at most this much, and its own bytes in the list: measured with CPython 3.11. ModelScope's also
# keep the commit of each file.
HF_FILE, MS_FILE = 250, 550
# Reading a list of n bytes and m objects takes at most another 4 n + 72 m bytes.
_PARSED_BYTE, _PARSED_OBJECT = 4, 72
_SMALL = 64 << 10  # each list may take this much in any case
_ROOM_WITHIN_S = 5.0
_AGAIN_S = 10.0


class ListingMemory:
    """Allow `most` bytes of memory to all lists that are being read. Thread-safe.

    When they are used up, the client whose lists take most makes room, then the longest list of the same client: its
    reader gets MirrorBusy at its next page.
    """

    def __init__(self, most: int = 128 << 20) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._shares: dict[ListingShare, int] = {}  # bytes taken

    @contextlib.contextmanager
    def share(self, client: str) -> "Iterator[ListingShare]":
        """Yield the share of one list, which is read for `client`; it is given back at the end of the block."""
        share = ListingShare(self, client)
        try:
            yield share
        finally:
            with self._changed:
                self._shares.pop(share, None)
                self._changed.notify_all()

    @property
    def taken(self) -> int:
        """Bytes taken by all lists."""
        with self._changed:
            return sum(self._shares.values())

    def take(self, share: "ListingShare", size: int) -> None:
        """Set the bytes that a list takes; wait for room if another list makes some. Raise MirrorBusy."""
        size = size if size > _SMALL else 0
        deadline = time.monotonic() + _ROOM_WITHIN_S
        with self._changed:
            while not share.stopped:
                before = self._shares.get(share, 0)
                if size <= before or sum(self._shares.values()) - before + size <= self._most:
                    self._shares[share] = size
                    self._changed.notify_all()
                    return
                left_s = deadline - time.monotonic()
                if not self._stop_one(share, size - before) or left_s <= 0:
                    break
                self._changed.wait(left_s)
        raise MirrorBusy("this mirror is reading too many long lists of files", wait_s=_AGAIN_S)

    def _stop_one(self, share: "ListingShare", more: int) -> bool:
        """Stop the list that makes room for a share; return whether one has been stopped and gives its memory back."""
        going = sum(size for one, size in self._shares.items() if one.stopped)
        if going >= more:
            return True
        lists = {one: size for one, size in self._shares.items() if not one.stopped}
        clients: Counter[str] = Counter()
        for one, size in lists.items():
            clients[one.client] += size
        client = greediest(clients, share.client, more)
        if client is None:
            longest = greediest({one: size for one, size in lists.items() if one.client == share.client}, share, more)
        else:
            longest = greediest({one: size for one, size in lists.items() if one.client == client})
        if longest is not None:
            longest.stopped = True
        return longest is not None


class ListingShare:
    """The memory that one list takes of a ListingMemory; `client` is for whom it is read."""

    def __init__(self, memory: ListingMemory, client: str) -> None:
        self._memory = memory
        self.client = client
        self.stopped = False

    def take(self, size: int) -> None:
        """See ListingMemory."""
        self._memory.take(self, size)


class ListingLimit:
    """Count the pages of one listing, inside a `with`.

    `add` raises HubError when there are too many, or when they took too long. A long wait is reported to `on_event`
    every few seconds. With a `memory`, which other listings share, all methods raise MirrorBusy when it is used up;
    `client` is for whom the listing is read.
    """

    def __init__(
        self,
        ref: Ref,
        on_event: Listener = lambda _: None,
        memory: ListingMemory | None = None,
        client: str = "",
    ) -> None:
        self._ref = ref
        self._on_event = on_event
        self._closing = contextlib.ExitStack()
        self._share = self._closing.enter_context(memory.share(client)) if memory is not None else None
        self._pages = self._files = self._size = self._kept = self._arriving = 0
        self._began = self._told_at = time.monotonic()

    def __enter__(self) -> "ListingLimit":
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.close()

    def arrived(self, size: int) -> None:
        """Count the next bytes of a page that is still arriving."""
        self._arriving += size
        self._take(2 * self._arriving)  # its pieces, and the pieces joined

    def parsing(self, body: bytes) -> None:
        """Count a page that is about to be parsed."""
        self._arriving = 0
        self._take((1 + _PARSED_BYTE) * len(body) + _PARSED_OBJECT * body.count(b"{"))

    def add(self, files: int, size: int, each: int = HF_FILE) -> None:
        """Count a page with this many files and bytes; a file keeps `each` bytes of memory."""
        self._pages, self._files, self._size = self._pages + 1, self._files + files, self._size + size
        if self._pages >= MOST_PAGES or self._files > MOST_FILES or self._size > MOST_BYTES:
            raise HubError(f"the hub lists the files of {self._ref} without end", hint="try another --endpoint")
        now = time.monotonic()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._on_event(Noted(str(self._ref), f"the hub has listed {self._files} files so far"))
        if now - self._began > MOST_S:
            raise HubError(
                f"the hub needs more than {MOST_S / 60:.0f} minutes to list the files of {self._ref}",
                hint="try another --endpoint",
            )
        self._kept += files * each + size
        self._take(0)

    def _take(self, size: int) -> None:
        if self._share is not None:
            self._share.take(self._kept + size)
