"""Trace: start an unmodified app once, and write its recipe and lock, with remarks on files left out."""

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from preheat.core.errors import AppError, UsageError
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.disk.temporary_file import TRACE, tidy, write_whole
from preheat.guard.model.app import App
from preheat.library.library import Library
from preheat.mirror.access.certificate import own, place, trusted_beside
from preheat.mirror.http.server import Server
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.recipes.inference.infer import LARGE, Inferred, infer
from preheat.recipes.inference.observation import Observation
from preheat.recipes.lock_file import lock_path
from preheat.recipes.recipe_writer import recipe_text
from preheat.verbs.lock import keep_lock
from preheat.verbs.tracing.cancellable_resolve import Asking
from preheat.verbs.tracing.observe import TracedApp, observe, reached
from preheat.verbs.tracing.secret_words import without_secrets
from preheat.verbs.tracing.traced_start import Lead, ObservedStart, Recorder, TraceWatch, Wanted, noted, traced_start

_HARDLY = 0.1


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Options of a trace: the recipe's path, and how to observe the start.

    `mirror`: returns a pull-through mirror that emits events to the listener. `resolve`: resolves a ref at its hub.
    `wanted`: reports whether the user ended the trace. `keep_unread`: include files that the app did not read.
    `secrets`: the tokens of this session, which the recipe must not contain.
    """

    path: Path
    watch: TraceWatch
    mirror: Callable[[Listener], Server]
    resolve: Callable[[Ref], Snapshot | None]
    wanted: Wanted = Wanted()  # noqa: RUF009 - a value, and frozen
    keep_unread: bool = False
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traced:
    """Result of a trace: the inferred recipe, and the observations that it is based on."""

    inferred: Inferred
    observation: Observation
    seen: ObservedStart
    remarks: tuple[str, ...] = field(default=())


def trace(app: App, name: str, library: Library, terms: TraceOptions, on_event: Listener) -> Traced:
    """Start `app` in its `cwd`, and write its recipe and lock.

    Raise AppError if the app fails, UsageError if the recipe cannot be written. Files that the app downloaded through
    the mirror stay in the library.
    """
    library.prepare(0)
    sweep(library.root)
    recorder = Recorder(on_event)
    environ = app.env or {}
    with fresh(library.root, TRACE) as workplace, _led(terms.mirror(recorder), environ, workplace, on_event) as lead:
        try:
            seen = traced_start(app, workplace, lead, terms.watch, recorder, terms.wanted)
        except AppError:
            for one in reached(noted(workplace)):
                by = " < ".join(one.modules) or "the app"
                on_event(Noted(f"{one.host}:{one.port}", f"connection attempts: {one.count}, from {by}"))
            raise
        command, hidden = without_secrets(app.command, terms.secrets)
        subject = TracedApp(name, terms.path.absolute().parent, command)
        asking = Asking(terms.resolve, terms.wanted)
        observation = observe(seen, subject, library, asking, terms.wanted.hurried)
    inferred = infer(observation, keep_unread=terms.keep_unread)
    remarks = _remarks(inferred, observation, seen)
    if hidden:
        said = f"The command contains a secret, which is not kept: {', '.join(hidden)}. {_INSTEAD}"
        remarks = (said, *remarks)
        on_event(Noted(terms.path.name, said))
    if asking.cut_short or terms.wanted.hurried():
        said = "Ended early: not every hub was asked, and not every file was compared. Needs may be missing."
        remarks = (said, *remarks)
        on_event(Noted(terms.path.name, said))
    try:
        tidy(terms.path)
        write_whole(terms.path, recipe_text(inferred.recipe, remarks).encode(errors="replace"))
    except OSError as error:
        raise UsageError(f"{terms.path} cannot be written: {error.strerror}", hint="choose another: -o FILE") from error
    keep_lock(terms.path.with_suffix(lock_path(inferred.recipe).suffix), inferred.lock)
    return Traced(inferred, observation, seen, remarks)


_INSTEAD = "The app does not start with this recipe until it reads the secret from a variable or a file."


@contextlib.contextmanager
def _led(server: Server, environ: Mapping[str, str], workplace: Path, on_event: Listener) -> Iterator[Lead]:
    """Run the mirror, over TLS too if a certificate can be created; yield its addresses.

    The app's CA file then contains the mirror's certificate in addition to the usual ones.
    """
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    named = next((environ[name] for name in names if environ.get(name)), ssl.get_default_verify_paths().cafile)
    with server, contextlib.ExitStack() as stack:
        lead = Lead(server.url)
        if named and Path(named).is_file():
            try:
                own_tls = own(workplace, ("127.0.0.1",))
            except UsageError as error:
                on_event(Noted("tls", f"{error.message}: modelscope up to 1.37 will bypass the mirror; {error.hint}"))
            else:
                trusted = workplace / "trusted.pem"
                trusted_beside(place(workplace), Path(named), trusted)
                lead = replace(lead, secure=stack.enter_context(server.twin(own_tls)).url, trusted=str(trusted))
        yield lead


def _remarks(inferred: Inferred, observation: Observation, seen: ObservedStart) -> tuple[str, ...]:
    """Return the remarks for the head of the recipe: how it was found, and what may be missing."""
    day = datetime.now(UTC).date().isoformat()
    remarks = [f"Found by preheat trace on {day}, from one start. Files that only later use needs are not in it."]
    if not seen.notes.processes:
        remarks.append("No Python process was observed: none ran, or all ran with -I, -E or an empty environment.")
    if not observation.sees_native:
        remarks.append("Files opened by native code may be missed (/proc was polled), so no unread file was left out.")
    remarks += [
        f"hardly read: {one.path}: {one.read} of {one.size} bytes"
        for one in observation.opened
        if one.read is not None and one.size >= LARGE and one.read < _HARDLY * one.size
    ]
    remarks += [
        f"{one.ref} is outside this folder: preheat pull and run need --allow-place {one.at}"
        for one in inferred.recipe.needs
        if Path(one.at).is_absolute()
    ]
    remarks += [f"left out: {one.what}: {one.size / 1e6:.1f} MB, {one.reason}" for one in inferred.left_out]
    remarks += [
        f"written outside this folder: {made.path.removeprefix(cache)[1:]} in {variable}, {made.size} bytes"
        for variable, cache in observation.caches.items()
        for made in observation.made
        if made.path.startswith(f"{cache}/") and made.size >= 10_000
    ]
    remarks += [
        f"connection attempts: {one.count} to {one.host} port {one.port}, from {' < '.join(one.modules) or 'the app'}"
        for one in observation.reached
    ]
    return tuple(remarks)
