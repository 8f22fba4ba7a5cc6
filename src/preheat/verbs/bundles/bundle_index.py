"""Bundle index: what a bundle contains; the first file of its tar. Format: docs/bundles.md."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import PreheatError, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace

FOLDER = "preheat-bundle"
INDEX = f"{FOLDER}/index.json"
VERSION = 1
LARGEST_INDEX = 256 << 20  # bytes; 300,000 files need 60 MB
_NEWER = "install a newer preheat"


class _ModelForm(msgspec.Struct, forbid_unknown_fields=True):
    ref: str
    commit: str
    files: list[tuple[str, int, str]]
    others: list[tuple[str, int, str]] = []
    unlisted: list[str] | None = None


class _IndexForm(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    models: list[_ModelForm]
    blobs: list[tuple[str, int]]
    apps: list[str] = []
    since: str = ""
    piece: int = 0


@dataclass(frozen=True, slots=True)
class BundleModel:
    """A version of a model: its `wanted` files are in the bundle, or in an earlier one; `others` are only listed."""

    wanted: Snapshot
    others: tuple[File, ...] = ()

    @property
    def listed(self) -> Snapshot:
        """Return the version with all files that the exporting library knew."""
        return replace(self.wanted, files=(*self.wanted.files, *self.others))


@dataclass(frozen=True, slots=True)
class BundleIndex:
    """The models of a bundle, and the `blobs` in it with their sizes in bytes; `apps` are names of recipes in it.

    With `since`, the ID of an earlier bundle, the blobs of that one are not in it. `piece` is the size of each file but
    the last in bytes, 0 for a single file.
    """

    models: tuple[BundleModel, ...]
    blobs: Mapping[Digest, int]
    apps: tuple[str, ...] = ()
    since: str = ""
    piece: int = 0

    def text(self) -> bytes:
        """Return the index as JSON; the same index gives the same bytes."""
        models = [
            _ModelForm(
                str(one.wanted.ref),
                one.wanted.commit,
                _triples(one.wanted.files),
                _triples(one.others),
                None if one.wanted.unlisted is None else list(one.wanted.unlisted),
            )
            for one in self.models
        ]
        blobs = [(str(digest), size) for digest, size in self.blobs.items()]
        form = _IndexForm(VERSION, models, blobs, list(self.apps), self.since, self.piece)
        return msgspec.json.format(msgspec.json.encode(form), indent=1) + b"\n"

    @property
    def id(self) -> str:
        """Return the bundle's ID: `sha256:HEX` of what it contains, which does not depend on the size of its pieces."""
        return f"sha256:{hashlib.sha256(replace(self, piece=0).text()).hexdigest()}"


def blob_name(digest: Digest) -> str:
    """Return the name of a blob in the tar."""
    return f"{FOLDER}/blobs/{digest.algorithm}/{digest.hex}"


def read_index(body: bytes, of: str) -> BundleIndex:
    """Parse an index. Raise UsageError if it is invalid, or of a newer version."""
    try:
        form = msgspec.json.decode(body, type=_IndexForm)
        if form.version != VERSION:
            raise UsageError(f"{of} has version {form.version}, and this preheat reads only {VERSION}", hint=_NEWER)
        models = tuple(_model(one) for one in form.models)
        blobs = {Digest.parse(digest): size for digest, size in form.blobs}
    except (msgspec.MsgspecError, PreheatError, UnicodeDecodeError, RecursionError) as error:
        why = error.message if isinstance(error, PreheatError) else str(error)
        raise UsageError(f"{of} is not a valid bundle: {why}", hint="export it again") from error
    if any(not name or name.startswith(".") or "/" in name or "\0" in name for name in form.apps):
        raise UsageError(f"{of} is not a valid bundle: invalid names", hint="export it again")
    if form.piece < 0 or any(size < 0 for size in blobs.values()):
        raise UsageError(f"{of} is not a valid bundle: invalid sizes", hint="export it again")
    return BundleIndex(models, blobs, tuple(form.apps), form.since, form.piece)


def _model(form: _ModelForm) -> BundleModel:
    files, others = (
        tuple(File(path, size, Digest.parse(digest)) for path, size, digest in some)
        for some in (form.files, form.others)
    )
    ref = Ref.parse(form.ref)
    if not ref.at(form.commit).pinned:
        raise UsageError(f"{form.commit!r} is not a commit")
    unlisted = None if form.unlisted is None else tuple(form.unlisted)
    model = BundleModel(Snapshot(ref, form.commit, files, unlisted), others)
    _ = model.listed  # raises for paths that cannot be in one folder
    return model


def _triples(files: Iterable[File]) -> list[tuple[str, int, str]]:
    return [(file.path, file.size, str(file.digest)) for file in sorted(files, key=lambda file: file.path)]
