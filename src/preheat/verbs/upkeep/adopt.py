"""Adopt: add files from other programs' caches to the library, without a download or a second copy."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, LibraryError
from preheat.core.events import Adopted, LeftOut, Listener, Read, Reading
from preheat.core.placement import THEIRS, StatFields
from preheat.core.ref import URL
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.core.threads.next_item import next_item
from preheat.core.units import say_path
from preheat.core.values.replace import replace
from preheat.library.adopt.caches import CachedVersion, Candidate
from preheat.library.adopt.intake import AddedBlob, Intake
from preheat.library.library import Library
from preheat.verbs.scan import REFUSE, WARN, scan_and_report
from preheat.verbs.upkeep.adopt_plan import HERE, LEFT_OUT, AdoptPlan

_THREADS = 4
# From the threads: bytes that were read, and jobs that are done. Events are emitted in the caller's thread only.
_Steps = SimpleQueue[int | Future[AddedBlob]]


@dataclass(frozen=True, slots=True)
class Adoption:
    """Counts of an adoption; `size`, `new` (not in the library before) and `copied` are bytes, the others numbers.

    `partial` counts the versions of which files are known to be missing.
    """

    versions: int
    partial: int
    files: int
    size: int
    new: int
    copied: int
    left_out: int


def adopt(plan: AdoptPlan, library: Library, on_event: Listener, unsafe: str = WARN) -> Adoption:
    """Add the files of a plan to the library.

    Files that are incomplete, do not match their digest, or cannot be added are reported and stay where they are.
    `unsafe`: how to treat files that can run untrusted code when they are loaded. With REFUSE, raise CheckFailed at the
    first version that contains such a file, and do not record that version. Raise NoSpace before anything is changed if
    the disk has too little free space, and later if the disk becomes full.
    """
    plan.require()
    library.prepare(0)
    on_event(Reading("adopt", sum(file.is_read for file in plan.files), plan.to_read))
    for one in plan.invalid:
        on_event(LeftOut(say_path(one.path), one.reason))
    steps: _Steps = SimpleQueue()
    intake = Intake(library.root, library.path, steps.put, copy=plan.copy, guarded=not plan.share)
    done = [_version(one, library, intake, steps, on_event, unsafe) for one in plan.found]
    return Adoption(
        versions=sum(one.versions for one in done),
        partial=sum(one.partial for one in done),
        files=sum(one.files for one in done),
        size=sum(one.size for one in done),
        new=sum(one.new for one in done),
        copied=sum(one.copied for one in done),
        left_out=len(plan.invalid) + sum(one.left_out for one in done),
    )


def adopted(plan: AdoptPlan) -> Adoption:
    """Return the counts that `adopt` will return for the plan, if no file is damaged."""
    by_source = {file.source: file for file in plan.files}
    versions = [[by_source[candidate.source] for candidate in one.candidates] for one in plan.found]
    kept = [[file for file in files if file.how != LEFT_OUT] for files in versions]
    return Adoption(
        versions=sum(bool(files) for files in kept),
        partial=sum(
            _lacks(one, [candidate.path for candidate in one.candidates if by_source[candidate.source].how != LEFT_OUT])
            for one, files in zip(plan.found, kept, strict=True)
            if files
        ),
        files=sum(map(len, kept)),
        size=sum(file.size for files in kept for file in files),
        new=sum(file.size for file in plan.files if file.how not in (HERE, LEFT_OUT)),
        copied=plan.disk.needed,
        left_out=len(plan.invalid) + sum(map(len, versions)) - sum(map(len, kept)),
    )


def left_out(plan: AdoptPlan) -> Iterator[LeftOut]:
    """Yield the files that the plan leaves out, with the reasons."""
    for one in plan.invalid:
        yield LeftOut(say_path(one.path), one.reason)
    for file in plan.files:
        if file.how == LEFT_OUT:
            yield LeftOut(say_path(file.source), file.why)


def _lacks(found: CachedVersion, paths: Sequence[str]) -> bool:
    """Return whether files of the version are known to be missing, with those at `paths` in the library."""
    named = {file.path for file in (*found.listed, *found.known)} | {one.path for one in found.candidates}
    return bool(found.missing) or not named <= set(paths)


def _version(
    found: CachedVersion, library: Library, intake: Intake, steps: _Steps, on_event: Listener, unsafe: str
) -> Adoption:
    """Add one version to the library, and record it."""
    known = library.find(found.ref.at(found.commit)) if found.commit else None
    listed = {file.path: file for file in (*(found.listed or (known.files if known else ())), *found.known)}
    claimed = tuple(File(c.path, 0, c.digest) for c in found.candidates if c.digest is not None)
    with library.wanted(Snapshot(found.ref, found.commit, claimed)):
        taken, left_out = _take(found, library, intake, steps, on_event)
        if not taken:
            return Adoption(0, 0, 0, 0, 0, 0, left_out)
        for path, one in taken.items():
            listed.setdefault(path, File(path, one.size, one.digest))
        files = tuple(listed[path] for path in sorted(listed))
        unlisted = _unlisted(found, known, listed)
        new = [listed[path] for path, one in taken.items() if one.how != "here"]
        scan_and_report(files if unsafe == REFUSE else new, library, unsafe, on_event)
        commit = found.commit or listing_commit(files)
        for revision in found.revisions or (commit,):
            ref = found.ref.at(revision)
            here = library.find(ref)
            # A branch that was pulled into the library since is newer than the same branch in the cache.
            stale = here is not None and here.commit != commit
            library.record(Snapshot(found.ref.at(commit) if stale else ref, commit, files, unlisted))
        if library.missing(Snapshot(found.ref.at(commit), commit, tuple(listed[path] for path in taken))):
            # Files without a known digest could not be claimed, and may have been pruned: add them again, now that a
            # record protects them.
            _take(found, library, intake, steps, on_event)
    links = Counter(one.how for one in taken.values())
    size = sum(one.size for one in taken.values())
    fresh = {one.digest: one for one in taken.values() if one.how != "here"}.values()
    missing = len(library.missing(Snapshot(found.ref, commit, files))) + len(unlisted or ())
    on_event(Adopted(found.ref, commit, len(taken), size, dict(links), missing))
    copied = sum(one.size for one in fresh if one.how == "copy")
    return Adoption(1, int(missing > 0), len(taken), size, sum(one.size for one in fresh), copied, left_out)


def _unlisted(found: CachedVersion, known: Snapshot | None, listed: Mapping[str, File]) -> tuple[str, ...] | None:
    """Return what the record of a version shall name as missing; see Snapshot. `listed` are its files by path."""
    if found.listed or found.ref.hub == URL or (known is not None and known.unlisted is None):
        return None
    before = known.unlisted if known is not None else None
    left_out = (candidate.path for candidate in found.candidates)
    digests = {str(file.digest) for file in listed.values()}
    names = dict.fromkeys((*(before or ()), *found.missing, *left_out))
    return tuple(
        name
        for name in names
        if name not in listed
        and name not in digests
        and not (name.endswith("/") and any(path.startswith(name) for path in listed))
    )


def _take(
    found: CachedVersion, library: Library, intake: Intake, steps: _Steps, on_event: Listener
) -> tuple[dict[str, AddedBlob], int]:
    """Add the files to the library, several at a time, each source file once."""
    alike: dict[tuple[Path, Digest | None], list[Candidate]] = {}
    for candidate in found.candidates:
        alike.setdefault((candidate.source, candidate.digest), []).append(candidate)
    taken: dict[str, AddedBlob] = {}
    linked: list[tuple[str, Digest, StatFields]] = []
    left_out = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = {pool.submit(intake.take, source, digest): ones for (source, digest), ones in alike.items()}
        try:
            for job in _completed(jobs, steps, on_event):
                try:
                    one = job.result()
                except (IntegrityError, LibraryError) as error:
                    if type(error) not in (IntegrityError, LibraryError):
                        raise  # such as NoSpace: not a problem of this file
                    left_out += len(jobs[job])
                    for candidate in jobs[job]:
                        hint = f" ({error.hint})" if error.hint else ""
                        on_event(LeftOut(say_path(candidate.source), error.message + hint))
                    continue
                if one.how != "here":
                    library.seals.note(one.digest, library.path(one.digest))
                if one.how == "hardlink":
                    linked.append((os.path.realpath(jobs[job][0].source), one.digest, StatFields()))
                for candidate in jobs[job]:
                    taken[candidate.path] = replace(one, how="here") if candidate is not jobs[job][0] else one
        except BaseException:
            intake.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            # The files still belong to the user, although they are now links to blobs.
            library.marks.note(THEIRS, linked)
    return taken, left_out


def _completed(jobs: Collection[Future[AddedBlob]], steps: _Steps, on_event: Listener) -> Iterator[Future[AddedBlob]]:
    """Yield each job when it is done, and emit the bytes that all of them read; Ctrl-C interrupts the wait."""
    for job in jobs:
        job.add_done_callback(steps.put)
    waiting = len(jobs)
    while waiting:
        step = next_item(steps)
        if isinstance(step, int):
            on_event(Read(step))
        else:
            waiting -= 1
            yield step
