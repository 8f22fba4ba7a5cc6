"""Made needs: what the first start itself wrote, grouped by place, with what it depends on; pure."""

import re
from collections.abc import Collection, Iterable, Sequence

from preheat.core.ref import MADE, MODEL, Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.recipes.depends import Depends
from preheat.recipes.inference.bookkeeping import is_bookkeeping, is_code, is_output, is_secret
from preheat.recipes.inference.hub_uses import LATE
from preheat.recipes.inference.layout_paths import FLAT
from preheat.recipes.inference.observation import Made, Observation
from preheat.recipes.inference.omitted import LARGE, OmittedFile
from preheat.recipes.inference.portable_places import PortablePlaces
from preheat.recipes.lock_file import Pinned
from preheat.recipes.places import CACHE, DIR, HOME, SITE_PACKAGES, TMP
from preheat.recipes.recipe import Need

_NATIVE = re.compile(r"\.(?:so(?:\.[0-9.]+)?|pyd|dylib|node|cubin|ptx|hsaco|nbi|nbc)$")
_TAGGED = re.compile(r"\.(?:cpython-|cp)[0-9]+")
_GPU_PARTS = ("torch_extensions", "/.triton/", "torchinductor", "ComputeCache", "tensorrt", "/cupy/")
_GPU_ENDINGS = (".cubin", ".ptx", ".hsaco", ".engine", ".plan")
# Formats that packages write natively, where the call stack cannot name them: the compiler, and who has the grammar.
_WRITERS = {".fst": ("pynini", "WeTextProcessing"), ".far": ("pynini",), ".arrow": ("datasets",)}
# The caches of hubs, where views place a hub's files; what else their clients write there, but for these, they need not
# find again.
_HUBS = ("huggingface/", "modelscope/")
_BUILT_BY_HUBS = ("huggingface/datasets/", "huggingface/modules/", "modelscope/hub/datasets/", "modelscope/datasets/")
_COPIED_UP_TO = 10_000_000  # bytes of a need
_WORD = re.compile(r"[^A-Za-z0-9]+")


def made_needs(
    seen: Observation,
    places: PortablePlaces,
    taken: Collection[str],
    left_out: list[OmittedFile],
    *,
    keep: bool,
) -> Iterable[tuple[float, Pinned]]:
    """Yield a need for each place that the start wrote to, and the time of the first open of its files.

    `taken` are the paths that other needs have. Files that are too large are added to `left_out`, unless `keep` is set.
    """
    times: dict[str, float] = {}
    for opened in seen.opened:
        times[opened.path] = min(opened.at, times.get(opened.path, LATE))
    groups: dict[tuple[str, str], list[tuple[str, Made]]] = {}
    for made in seen.made:
        place, below = places.split(made.path)
        if not place or made.path in taken or _of_no_use(made, place, below, seen, is_read=made.path in times):
            continue
        unread = made.path not in times and seen.sees_native and not is_code(made.path) and not _is_compiled(made.path)
        if made.digest is None or (unread and made.size > LARGE and not keep):
            why = "written, never opened" if unread else "written, too large to keep"
            left_out.append(OmittedFile(places.shorten(made.path), made.size, why))
            continue
        group, name = _group(place, below)
        groups.setdefault((place, group), []).append((name, made))
    for (place, group), files in groups.items():
        when = min(times.get(made.path, LATE) for _, made in files)
        yield when, _need(place, group, files, seen, places)


def _is_compiled(path: str) -> bool:
    """Return whether a file is compiled code. The start that writes it need not read it; the next start does."""
    return path.endswith((*_WRITERS, *_GPU_ENDINGS)) or bool(_NATIVE.search(path))


def _of_no_use(made: Made, place: str, below: str, seen: Observation, *, is_read: bool) -> bool:
    """Return whether a later start needs a file neither to read nor to find it."""
    if is_secret(f"/{below}") or is_bookkeeping(f"/{below}"):
        return True
    if place == CACHE and below.startswith(_HUBS) and not below.startswith(_BUILT_BY_HUBS):
        return True
    if place in (HOME, TMP) and below.startswith(".") and "/" not in below:
        return True  # a setting, a history, or a session
    if place == CACHE and below.startswith("Microsoft/"):
        return True  # the identity that onnxruntime's telemetry gives to a machine
    if place == TMP and (not is_read or below.startswith(("gradio/", "pip-"))):
        return True
    if is_output(made.path, media=True) and not is_read:
        return True
    in_use = seen.used_at is not None and made.at >= seen.used_at
    # What the first use itself wrote: its answer in the app's folder, not a cache.
    return in_use and place in (DIR, TMP) and is_output(made.path)


def _group(place: str, below: str) -> tuple[str, str]:
    """Return the folder of a place that is one need, and the file's path in it."""
    parts = below.split("/")
    deep = 0 if place == SITE_PACKAGES or len(parts) == 1 else 1
    if place == HOME and parts[0] in (".local", ".cache") and len(parts) > 3:
        deep = 3
    return "/".join(parts[:deep]), "/".join(parts[deep:])


def _need(
    place: str, group: str, files: Sequence[tuple[str, Made]], seen: Observation, places: PortablePlaces
) -> Pinned:
    where = "{" + place + "}" + (f"/{group}" if group else "")
    ref = Ref(MADE, MODEL, f"{_word(seen.name) or 'app'}/{_word(f'{place} {group}')}")
    listed = tuple(
        File(name, made.size, made.digest) for name, made in sorted(files, key=lambda item: item[0]) if made.digest
    )
    depends = _depends(place, [made for _, made in files], seen)
    # What the app wrote once it may write again: not through a link into the library.
    link = "copy" if sum(file.size for file in listed) <= _COPIED_UP_TO else ""
    need = Need(ref, (), FLAT, places.relative(where), link=link, depends=depends)
    return Pinned(need, Snapshot(ref, listing_commit(listed), listed), depends=depends)


def _depends(place: str, files: Sequence[Made], seen: Observation) -> Depends | None:
    here = seen.environment
    native = any(_NATIVE.search(made.path) for made in files)
    python = place == SITE_PACKAGES or any(_TAGGED.search(made.path) for made in files)
    gpu = any(made.path.endswith(_GPU_ENDINGS) or any(part in made.path for part in _GPU_PARTS) for made in files)
    packages: dict[str, str] = {}
    for made in files:
        ending = made.path[made.path.rpartition("/")[2].find(".") :] if "." in made.path else ""
        writers = next((names for end, names in _WRITERS.items() if ending.endswith(end)), ())
        known = [package for package in writers if here.version(package)]
        for package in known or made.modules[:1]:
            if version := here.version(package):
                packages[package] = version
    found = Depends(
        python=here.python if python else "",
        machine=here.machine if native else "",
        packages=packages if place != SITE_PACKAGES else {},
        gpu=here.gpu if gpu else "",
    )
    return found if found.words or found.packages else None


def _word(text: str) -> str:
    return _WORD.sub("-", text).strip("-")[:90].strip("-")
