"""Events: facts that verbs report while they work; the listener decides how to print them."""

from collections.abc import Callable, Mapping

import msgspec

from preheat.core.ref import Ref
from preheat.core.snapshot import File


class Resolved(msgspec.Struct, frozen=True):
    """A ref was found: `size` bytes in `files` files, of which `missing` bytes in `missing_files` are to come."""

    ref: Ref
    commit: str
    files: int
    size: int
    missing_files: int
    missing: int


class Noted(msgspec.Struct, frozen=True):
    """Something a person should know before it surprises them: `what` it is about, and what is so, in words."""

    what: str
    said: str


class Received(msgspec.Struct, frozen=True):
    """`size` more bytes of `file` reached the disk."""

    file: File
    size: int


class Waiting(msgspec.Struct, frozen=True):
    """Another process is fetching `file`, and has `done` bytes of it."""

    file: File
    done: int


class Retrying(msgspec.Struct, frozen=True):
    """A part of `file` failed for `reason` and is asked for again in `wait_s` seconds."""

    what: str
    reason: str
    wait_s: float


class Away(msgspec.Struct, frozen=True):
    """`what` cannot be reached any more, for `reason`: it is tried again in `wait_s` seconds, given up on in `left_s`.

    Emitted about once a second while it is waited for.
    """

    what: str
    reason: str
    wait_s: float
    left_s: float


class Stored(msgspec.Struct, frozen=True):
    """`file` is in the library, whole and verified."""

    file: File


class Scanned(msgspec.Struct, frozen=True):
    """`what` can run code when it is loaded: `level` is the verdict's on it, `said` the verdict in words."""

    what: str
    level: str
    said: str


class Placed(msgspec.Struct, frozen=True):
    """A view of `ref` was placed at `path`: so many files linked in each way, and so many bytes in a second copy.

    What was in place before counts nowhere.
    """

    ref: Ref
    kind: str
    path: str
    links: Mapping[str, int]
    copied: int


class MovedAside(msgspec.Struct, frozen=True):
    """What lay at `path`, and preheat had not placed, is at `to` now."""

    path: str
    to: str


class Serving(msgspec.Struct, frozen=True):
    """A server answers at `url`."""

    url: str


class Answered(msgspec.Struct, frozen=True):
    """A server answered a request with `status` and sent `sent` bytes of body; `path` is without secrets.

    `of_file` says that these were of a file of a model's, and not of a document about it.
    """

    client: str
    method: str
    path: str
    status: int
    sent: int
    seconds: float
    agent: str = ""
    of_file: bool = False


class Evicted(msgspec.Struct, frozen=True):
    """A mirror removed a version to keep its library below the cap: `size` bytes on disk are free again.

    `ref` is the repository on its default branch; `revisions` are the branches and tags that named the commit.
    """

    ref: Ref
    commit: str
    revisions: tuple[str, ...]
    size: int


class AppChanged(msgspec.Struct, frozen=True):
    """The app's life moved to `life` (starting, running, backoff, stopped, fatal); `detail` says why, in words."""

    life: str
    detail: str
    seconds: float


class NetworkSeen(msgspec.Struct, frozen=True):
    """The app's whole process tree tried `outbound` times to reach others: connections and lookups of names together.

    `lookups` is how many of them were lookups. `places` says where, most tried first, with the names that were looked
    up; `blind_spots` what could not be seen, in words: a count with any is no proof.
    """

    outbound: int
    lookups: int
    places: tuple[str, ...]
    blind_spots: tuple[str, ...]


class Reading(msgspec.Struct, frozen=True):
    """`size` bytes in `files` files are to be read, to `purpose` them."""

    purpose: str
    files: int
    size: int


class Read(msgspec.Struct, frozen=True):
    """`size` more bytes were read."""

    size: int


class Rotten(msgspec.Struct, frozen=True):
    """The blob `digest` is not what its name says, for `reason`, and the files `paths` need it.

    It was moved to `moved_to`; it was not where that is empty, as the library cannot be written.
    """

    digest: str
    reason: str
    paths: tuple[str, ...]
    moved_to: str


class Mended(msgspec.Struct, frozen=True):
    """The rotten blob `digest` is here again, whole and verified; `error` says why it is not."""

    digest: str
    error: str


class Adopted(msgspec.Struct, frozen=True):
    """A version found in a cache is in the library: `size` bytes in `files` files; `links` counts how they came in."""

    ref: Ref
    commit: str
    files: int
    size: int
    links: Mapping[str, int]


class LeftOut(msgspec.Struct, frozen=True):
    """Something in a cache was left where it is, for `reason`."""

    path: str
    reason: str


class Unneeded(msgspec.Struct, frozen=True):
    """Nothing needs `what`, of `size` bytes on disk; or something holds it, for a reason."""

    what: str
    size: int
    held: str


class LayerPut(msgspec.Struct, frozen=True):
    """A layer is where the image goes. `how`: it was here already, is shared, was written, sent or mounted."""

    name: str
    digest: str
    size: int
    how: str


class TrialStarted(msgspec.Struct, frozen=True):
    """Round `round` of `condition` begins."""

    condition: str
    round: int
    rounds: int


Event = (
    Reading
    | Read
    | Rotten
    | Mended
    | Adopted
    | LeftOut
    | Unneeded
    | Resolved
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
    | TrialStarted
)
Listener = Callable[[Event], None]
