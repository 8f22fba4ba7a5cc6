"""Events: progress that verbs report while they work; the listener decides how to print them."""

from collections.abc import Callable, Mapping

import msgspec

from preheat.core.pulls.planned_pull import Planned, Resolved
from preheat.core.ref import Ref
from preheat.core.snapshot import File


class Noted(msgspec.Struct, frozen=True):
    """A notice for the user: the subject (`what`) and the text (`said`)."""

    what: str
    said: str


class Received(msgspec.Struct, frozen=True):
    """`size` more bytes of `file` were written to disk."""

    file: File
    size: int


class Waiting(msgspec.Struct, frozen=True):
    """Another process is downloading `file`, and has `done` bytes of it."""

    file: File
    done: int


class Retrying(msgspec.Struct, frozen=True):
    """A request for `what` failed for `reason`, and is retried in `wait_s` seconds."""

    what: str
    reason: str
    wait_s: float


class Away(msgspec.Struct, frozen=True):
    """`what` is unreachable, for `reason`: retried in `wait_s` seconds, given up in `left_s`; about one a second."""

    what: str
    reason: str
    wait_s: float
    left_s: float


class Stored(msgspec.Struct, frozen=True):
    """`file` was verified and stored in the library."""

    file: File


class Scanned(msgspec.Struct, frozen=True):
    """The file `what` can run code when it is loaded: `level` is its verdict's level, `said` the verdict in words."""

    what: str
    level: str
    said: str


class Placed(msgspec.Struct, frozen=True):
    """A view of `ref` was placed at `path`: `links` counts files per kind of link, `copied` the bytes copied.

    Files that were already in place are not counted. `kept`: other files at their paths, which were not replaced.
    """

    ref: Ref
    kind: str
    path: str
    links: Mapping[str, int]
    copied: int
    kept: int = 0


class MovedAside(msgspec.Struct, frozen=True):
    """A file at `path` that preheat had not placed was moved to `to`."""

    path: str
    to: str


class Serving(msgspec.Struct, frozen=True):
    """A server is ready at `url`."""

    url: str


class Answered(msgspec.Struct, frozen=True):
    """A server's response to a request; `sent` bytes of body, those of a model's file if `of_file`."""

    client: str
    method: str
    path: str
    status: int
    sent: int
    seconds: float
    agent: str = ""
    of_file: bool = False


class Evicted(msgspec.Struct, frozen=True):
    """A mirror evicted a version to keep its library below the size cap, which freed `size` bytes on disk.

    `ref` is the repository on its default branch; `revisions` are the branches and tags that pointed to the commit.
    """

    ref: Ref
    commit: str
    revisions: tuple[str, ...]
    size: int


class AppChanged(msgspec.Struct, frozen=True):
    """The app's state changed to `life` (starting, running, backoff, stopped, fatal); `detail`: why, in words."""

    life: str
    detail: str
    seconds: float


class NetworkSeen(msgspec.Struct, frozen=True):
    """The app and its child processes made `outbound` network requests: connections and DNS lookups.

    `lookups`: how many of them were DNS lookups. `places`: their destinations and the names looked up, most frequent
    first. `blind_spots`: traffic that could not be observed, in words; with any of them, the counts prove nothing.
    """

    outbound: int
    lookups: int
    places: tuple[str, ...]
    blind_spots: tuple[str, ...]


class Reading(msgspec.Struct, frozen=True):
    """`size` bytes in `files` files will be read; `purpose` is a verb phrase, such as `verify`."""

    purpose: str
    files: int
    size: int


class Read(msgspec.Struct, frozen=True):
    """`size` more bytes were read."""

    size: int


class Rotten(msgspec.Struct, frozen=True):
    """The blob `digest` is corrupt, for `reason`, and the files `paths` need it.

    It was moved to `moved_to`; empty if the library is read-only, so that it was not moved.
    """

    digest: str
    reason: str
    paths: tuple[str, ...]
    moved_to: str


class Mended(msgspec.Struct, frozen=True):
    """The corrupt blob `digest` was downloaded again and verified; if that failed, `error` is the reason."""

    digest: str
    error: str


class Adopted(msgspec.Struct, frozen=True):
    """A version from a cache was added to the library: `size` bytes in `files` files.

    `links` is the number of files by the way in which they were added, such as `reflink` or `copy`. `missing` is the
    number of the version's files that are known to be missing.
    """

    ref: Ref
    commit: str
    files: int
    size: int
    links: Mapping[str, int]
    missing: int = 0


class LeftOut(msgspec.Struct, frozen=True):
    """A file in a cache was not adopted, for `reason`."""

    path: str
    reason: str


class OptionalMissing(msgspec.Struct, frozen=True):
    """An app's optional need `ref` is left out, for `reason`; the app can start without it."""

    ref: str
    reason: str


class Unneeded(msgspec.Struct, frozen=True):
    """`what` can be deleted, which frees `size` bytes; or it is kept, and `held` is the reason."""

    what: str
    size: int
    held: str


class LayerPut(msgspec.Struct, frozen=True):
    """A layer is at the image's target. `how`: already present, shared, written, sent or mounted."""

    name: str
    digest: str
    size: int
    how: str


class ProofPlanned(msgspec.Struct, frozen=True):
    """A proof begins: so many starts, and downloads of `size`; it takes `least_s` to `most_s`, probably `left_s`."""

    starts: int
    downloads: int
    size: int
    left_s: float | None
    least_s: float = 0.0
    most_s: float | None = None


class TrialStarted(msgspec.Struct, frozen=True):
    """Round `round` of `condition` begins."""

    condition: str
    round: int
    rounds: int
    left_s: float | None = None
    least_s: float = 0.0
    most_s: float | None = None


class TrialProgress(msgspec.Struct, frozen=True):
    """A proof of `app` has been `doing` something for `seconds`. `fetched`: bytes that a cold start has downloaded."""

    app: str
    seconds: float
    fetched: int | None
    doing: str = ""
    left_s: float | None = None
    least_s: float = 0.0
    most_s: float | None = None


Event = (
    Reading
    | Read
    | Rotten
    | Mended
    | Adopted
    | LeftOut
    | OptionalMissing
    | Unneeded
    | Resolved
    | Planned
    | Noted
    | Received
    | Waiting
    | Retrying
    | Away
    | Stored
    | Scanned
    | Placed
    | MovedAside
    | Serving
    | Answered
    | Evicted
    | AppChanged
    | NetworkSeen
    | LayerPut
    | ProofPlanned
    | TrialStarted
    | TrialProgress
)
Listener = Callable[[Event], None]
