"""Watch: look into the apps' model folders again and again, and plan a fold when they have new files.

The folders are listed, not subscribed to: that also works on network shares, for folders that appear later, and without
limits on the number of folders. A look costs a stat(2) for each file, and takes at most a twentieth of the time.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.core.events import Listener, Noted
from preheat.desk.app_folders import AppSurvey
from preheat.verbs.folding.fold_plan import FOLD, FoldPlan, is_settled
from preheat.verbs.folding.model_files import ModelFile, list_files
from preheat.verbs.folding.model_hashes import CHANGED, OPEN_FOR_WRITING

_MOST_OF_THE_TIME = 20  # a look of 1 s is followed by a wait of 20 s at least
_LONGEST_WAIT_S = 3600.0  # before files that could not be folded are planned again


@dataclass(frozen=True, slots=True)
class WatchTerms:
    """How often to look, and for how long a file must not have changed, both in seconds."""

    every_s: float = 60.0
    settle_s: float = 60.0


def watch(
    find: Callable[[], AppSurvey],
    plan: Callable[[AppSurvey], FoldPlan],
    library: Path,
    on_event: Listener,
    terms: WatchTerms,
) -> Iterator[FoldPlan]:
    """Yield a plan whenever there are files to fold; it never ends by itself.

    `find` and `plan` are called for a look; `plan` leaves out files that have changed within `terms.settle_s`. While
    the same files remain to be folded, their plans come less and less often, down to one an hour. If the library is
    missing or busy, an event reports that once, and the watch continues.
    """
    looks = _Looks(find, plan, library, terms)
    trouble = ""
    while True:
        began = time.monotonic()
        found = None
        try:
            found = looks.look(began)
            trouble = ""
        except LibraryError as error:
            if error.message != trouble:
                trouble = error.message
                on_event(Noted("fold", f"{error.message}; watching on"))
        wait_s = max(terms.every_s, _MOST_OF_THE_TIME * (time.monotonic() - began))
        if found is not None:
            yield found
            del found  # while this waits, it keeps no list of files
        time.sleep(wait_s)


class _Looks:
    """Remembers what the last look has found: a digest of all files, and the paths of those to fold."""

    def __init__(
        self, find: Callable[[], AppSurvey], plan: Callable[[AppSurvey], FoldPlan], library: Path, terms: WatchTerms
    ) -> None:
        self._find, self._plan, self._library, self._terms = find, plan, library, terms
        self._idle = ""  # the digest of all files when nothing could be folded
        self._to_fold: frozenset[Path] = frozenset()
        self._wait_s, self._due = terms.every_s, 0.0

    def look(self, now: float) -> FoldPlan | None:
        """Return a plan if it is time to fold. Raise LibraryError."""
        survey = self._find()
        seen, settled = _fingerprint(survey, self._library, self._terms.settle_s)
        if seen == self._idle:
            return None
        plan = self._plan(survey)
        to_fold = frozenset(one.file.path for one in plan.files if one.state == FOLD)
        # A program may close a file without another write, so that nothing of the file changes.
        in_use = any(one.reason in (OPEN_FOR_WRITING, CHANGED) for one in plan.unread)
        self._idle = "" if to_fold or in_use or not settled else seen
        if to_fold != self._to_fold:
            self._to_fold, self._wait_s, self._due = to_fold, self._terms.every_s, 0.0
        if not to_fold or now < self._due:
            return None
        self._due, self._wait_s = now + self._wait_s, min(2 * self._wait_s, _LONGEST_WAIT_S)
        return plan


def _fingerprint(survey: AppSurvey, library: Path, settle_s: float) -> tuple[str, bool]:
    """Return a digest of all files' paths, inodes, sizes and times, and whether none of them has changed lately."""
    digest, settled, now_ns = hashlib.sha256(), True, time.time_ns()
    for one in list_files(survey.folders, [library]):
        if not isinstance(one, ModelFile):
            continue
        look = one.look
        fields = (
            str(one.path),
            *one.inode,
            look.st_size,
            look.st_mtime_ns,
            look.st_ctime_ns,
            look.st_mode,
            look.st_uid,
        )
        digest.update(repr(fields).encode())
        settled = settled and is_settled(look, settle_s, now_ns)
    return digest.hexdigest(), settled
