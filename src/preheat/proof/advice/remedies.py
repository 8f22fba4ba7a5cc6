"""Remedies: what would make a start faster, largest gain first, each with a command to type; pure."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from preheat.core.units import say_count, say_seconds, say_size
from preheat.proof.advice.symptoms import Endpoint, StorageFolder, Symptoms
from preheat.proof.start.start_notes import TRACED, StartParts
from preheat.proof.start.timeline import PRELOADED, WARM

_MUCH = 1.3
_SHORT_S, _SMALL, _NAMED = 0.5, 0.1, 3  # imports that are worth a remedy: seconds, share of a start; packages named
_MUCH_AWAY = 20_000_000  # bytes
_FAR = frozenset(("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "9p", "ceph", "lustre"))
_GONE_WITH_CONTAINER = "its files are deleted with the container"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A problem, the seconds that the problem costs each start, and the command that helps.

    `cause` is a stable identifier. `seconds` is None if the app cannot start at all; such remedies come first.
    """

    cause: str
    said: str
    command: str
    seconds: float | None = None


def remedies(symptoms: Symptoms) -> list[Remedy]:
    """Return the remedies: first those for problems that prevent a start, then those that save the most seconds."""
    found = [remedy for look in _CHECKS for remedy in look(symptoms)]
    return sorted(found, key=lambda remedy: (remedy.seconds is not None, -(remedy.seconds or 0.0)))


def _app_of(symptoms: Symptoms) -> str:
    return f" {symptoms.app}" if symptoms.app else ""


def _pull(symptoms: Symptoms) -> str:
    """Return the command that pulls the app's files. It names what to pull, since `pull` has no default."""
    return f"preheat pull {symptoms.app or ('preheat.toml' if symptoms.files else 'REF')}"


def _preferred(symptoms: Symptoms) -> Endpoint | None:
    return next((endpoint for endpoint in symptoms.endpoints if endpoint.line is not None), None)


def _rate(rate: float) -> str:
    return f"{rate / 1e6:.1f} MB/s"


def _not_downloaded(symptoms: Symptoms) -> Iterator[Remedy]:
    """Yield remedies for missing weights, which the app downloads over one connection."""
    if not symptoms.missing:
        return
    size = f"{symptoms.missing / 1e6:.1f} MB are not in the library"
    pull = _pull(symptoms)
    if symptoms.offline:
        yield Remedy("offline-without-weights", f"{size}, and HF_HUB_OFFLINE stops the app from downloading them", pull)
    endpoint = _preferred(symptoms)
    if endpoint is None or endpoint.line is None or not endpoint.line.one:
        return
    line = endpoint.line
    yield Remedy(
        "not-preloaded",
        f"{size}: the app downloads them itself, over one connection at {_rate(line.one)}",
        pull,
        symptoms.missing / line.one,
    )
    if line.many > line.one * _MUCH:
        yield Remedy(
            "one-connection",
            f"{endpoint.url}: {_rate(line.one)} over one connection, {_rate(line.many)} over {line.connections}",
            f"{pull} --connections {line.connections}",
            symptoms.missing / line.one - symptoms.missing / line.many,
        )


def _endpoints(symptoms: Symptoms) -> Iterator[Remedy]:
    """Yield remedies for endpoints that fail, and for slow endpoints that are tried before a faster one."""
    for endpoint in symptoms.endpoints:
        if endpoint.error:
            sentence = f"{endpoint.url}: {endpoint.error}"
            blocks = _preferred(symptoms) is None and (symptoms.missing or not symptoms.files)
            elsewhere = f"{_pull(symptoms)} --endpoint {endpoint.hub}=URL"
            command = "hf auth login" if endpoint.denied and endpoint.hub == "hf" else elsewhere
            # With other endpoints left, a failing one costs only about a second.
            yield Remedy("hub-says-no", sentence, command, None if blocks else 1.0)
    first = _preferred(symptoms)
    if first is None or first.line is None or not first.line.many or not symptoms.missing:
        return
    others = [one for one in symptoms.endpoints if one.hub == first.hub and one.line is not None]
    best = max(others, key=lambda one: one.line.many if one.line else 0.0)
    if best.line is not None and best.line.many > first.line.many * _MUCH:
        yield Remedy(
            "slower-endpoint",
            f"{best.url} reaches {_rate(best.line.many)}, but {first.url}, which comes first, {_rate(first.line.many)}",
            f"{_pull(symptoms)} --endpoint {best.hub}={best.url}",
            symptoms.missing / first.line.many - symptoms.missing / best.line.many,
        )


def _space(symptoms: Symptoms) -> Iterator[Remedy]:
    if symptoms.missing > symptoms.free_disk:
        lacks = f"needs {symptoms.missing / 1e9:.1f} GB, but only {symptoms.free_disk / 1e9:.1f} GB are free"
        yield Remedy("disk-full", f"{symptoms.library.path}: {lacks}", "preheat prune")
    if symptoms.speed is not None and symptoms.size > symptoms.free_memory:
        memory = f"only {symptoms.free_memory / 1e9:.1f} GB of free memory"
        sentence = f"{symptoms.size / 1e9:.1f} GB of weights, but {memory}"
        seconds = symptoms.size / symptoms.speed.disk - symptoms.size / symptoms.speed.page_cache
        yield Remedy("memory-short", sentence, f"preheat run{_app_of(symptoms)} --mmap-weights", max(seconds, 0.0))


def _folders(symptoms: Symptoms) -> Iterator[Remedy]:
    """Yield remedies for folders that are deleted with a container, are on a network filesystem, or need copies."""
    line = (endpoint := _preferred(symptoms)) and endpoint.line
    again_s = symptoms.size / line.many if line and line.many else None
    if not symptoms.library.survives:
        yield _lost("library-not-kept", symptoms.library, f"-v preheat:{symptoms.library.path}", again_s)
    if not symptoms.cache.survives and symptoms.missing:
        again = symptoms.missing / line.one if line and line.one else None
        yield _lost("cache-not-kept", symptoms.cache, f"-v huggingface:{symptoms.cache.path}", again)
    speed = symptoms.speed
    if symptoms.library.filesystem in _FAR and speed is not None:
        yield Remedy(
            "library-on-a-network",
            f"{symptoms.library.path} is on {symptoms.library.filesystem}, which reads at {_rate(speed.disk)}",
            f"{_pull(symptoms)} --library /var/lib/preheat",
            symptoms.size / speed.disk,
        )
    for path in symptoms.copied:
        yield Remedy(
            "view-copied",
            f"{path} cannot be linked to {symptoms.library.path}: it gets a second copy of all files",
            f"{_pull(symptoms)} --library {path}/.preheat",
            symptoms.size / speed.disk if speed is not None else 0.0,
        )


def _lost(cause: str, place: StorageFolder, volume: str, seconds: float | None) -> Remedy:
    sentence = f"{place.path} is on {place.filesystem}: {_GONE_WITH_CONTAINER}, and downloaded again"
    return Remedy(cause, sentence, f"docker run {volume} IMAGE", seconds or 0.0)


def _reading(symptoms: Symptoms) -> Iterator[Remedy]:
    """Yield remedies for weights that are not in the page cache, and for needless requests to the hub."""
    speed, away = symptoms.speed, symptoms.size - symptoms.missing - symptoms.resident
    if speed is not None and away > symptoms.size * 0.05:
        yield Remedy(
            "page-cache-cold",
            f"{away / 1e6:.1f} MB of the weights are not in the page cache; the disk reads at {_rate(speed.disk)}",
            f"preheat run{_app_of(symptoms)}",
            max(0.0, away / speed.disk - away / speed.page_cache),
        )
    endpoint = _preferred(symptoms)
    if symptoms.files and not symptoms.missing and not symptoms.offline and endpoint and endpoint.line:
        yield Remedy(
            "asks-the-hub",
            "all files are downloaded, but the app alone still sends "
            f"{say_count(symptoms.files, 'request')} to {endpoint.url}",
            f"preheat run{_app_of(symptoms)}",
            symptoms.files * endpoint.line.answer_s,
        )


def _imports(symptoms: Symptoms) -> Iterator[Remedy]:
    """Yield remedies for imports that take much of a start, and for an environment that has to be read from disk."""
    speed, start = symptoms.speed, typical_start(symptoms)
    run = f"preheat run{_app_of(symptoms)}"
    if start is not None and start.imports_s >= max(_SHORT_S, _SMALL * start.ready_s):
        packages = ", ".join(f"{name} {say_seconds(seconds)}" for name, seconds in start.slowest[:_NAMED])
        said = f"imports take {say_seconds(start.imports_s)} of {say_seconds(start.ready_s)} until the app is ready"
        said += f" ({packages})" if packages else ""
        if not symptoms.no_memory:
            yield Remedy(
                "slow-imports", f"{said}: a memory snapshot skips them", f"{run} --memory-snapshot", start.imports_s
            )
        elif symptoms.listed is None:
            # A start list helps as far as the modules come from the disk.
            said = f"{said}, and no start list says what to read ahead ({symptoms.no_memory})"
            traced = shlex.join(symptoms.command) if symptoms.command else "CMD"
            yield Remedy("slow-imports", said, f"preheat trace --force -- {traced}", _from_disk_s(symptoms, start))
    if speed is not None and symptoms.away > _MUCH_AWAY:
        yield Remedy(
            "environment-cold",
            f"{say_size(symptoms.away)} of the app's environment that its start list names are not in the page cache",
            run,
            symptoms.away / speed.disk - symptoms.away / speed.page_cache,
        )


def typical_start(symptoms: Symptoms) -> StartParts | None:
    """Return the noted start that is most like one with `run`: a preloaded one, else a warm one, else a traced one."""
    order = {one.condition: one for one in symptoms.starts}
    return next((order[one] for one in (PRELOADED, WARM, TRACED) if one in order), None)


def _from_disk_s(symptoms: Symptoms, start: StartParts) -> float:
    """Return how much longer the imports take from disk than from the page cache, as far as both were measured."""
    warm = next((one for one in symptoms.starts if one.condition == WARM), start)
    return max(0.0, start.imports_s - warm.imports_s)


def _network(symptoms: Symptoms) -> Iterator[Remedy]:
    if symptoms.no_ca:
        sentence = f"SSL_CERT_FILE names {symptoms.no_ca}, which does not exist: no HTTPS certificate can be verified"
        yield Remedy("no-certificates", sentence, "unset SSL_CERT_FILE")
    if symptoms.proxied:
        sentence = "a proxy is set, but NO_PROXY does not include localhost: an app's requests to its own page fail"
        yield Remedy("proxy-before-localhost", sentence, "export NO_PROXY=localhost,127.0.0.1,::1")


_CHECKS: tuple[Callable[[Symptoms], Iterator[Remedy]], ...] = (
    _not_downloaded,
    _endpoints,
    _space,
    _folders,
    _reading,
    _imports,
    _network,
)
