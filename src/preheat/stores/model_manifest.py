"""Model manifest: which files of one commit are in an object store. Format: docs/stores.md."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import HubError, IntegrityError, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.stores.store_keys import FORMAT

LARGEST = 64 << 20  # bytes; 300,000 files need 60 MB
_AGAIN = "push the model again, after the key is removed"


class _ManifestForm(msgspec.Struct, frozen=True):
    version: int
    hub: str
    kind: str
    repo: str
    commit: str
    files: list[tuple[str, int, str]]
    others: list[tuple[str, int, str]] = []
    unlisted: list[str] | None = None


class _BranchForm(msgspec.Struct, frozen=True):
    version: int
    revision: str
    commit: str


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """A commit of a model: the blobs of `wanted` are in the store; `others` are only listed. See Snapshot."""

    wanted: Snapshot
    others: tuple[File, ...] = ()

    @property
    def listed(self) -> Snapshot:
        """Return the commit with all files that are known of it."""
        return replace(self.wanted, files=(*self.wanted.files, *self.others))

    def text(self) -> bytes:
        """Return the manifest as JSON; the same manifest gives the same bytes."""
        one = self.wanted
        unlisted = None if one.unlisted is None else sorted(one.unlisted)
        ref = one.ref
        files, others = _triples(one.files), _triples(self.others)
        form = _ManifestForm(FORMAT, ref.hub, ref.kind, ref.repo, one.commit, files, others, unlisted)
        return msgspec.json.format(msgspec.json.encode(form), indent=1) + b"\n"

    def joined(self, other: "ModelManifest") -> "ModelManifest":
        """Return a manifest with the files of both. Raise IntegrityError if they differ in a file of the commit."""
        files = {file.path: file for file in other.wanted.files}
        # A file with two kinds of digests keeps the one that readers know already; it has a blob by either name.
        files |= {file.path: file for file in self.wanted.files if file.path not in files}
        for file in self.wanted.files:
            known = files[file.path]
            if known.size != file.size or (
                known.digest.algorithm == file.digest.algorithm and known.digest != file.digest
            ):
                raise IntegrityError(
                    f"the store has other bytes of {file.path} at {self.wanted.commit[:12]} of {self.wanted.ref}",
                    hint="a commit has one content: compare both digests with the hub's, and remove the wrong manifest",
                )
        others = {file.path: file for file in (*other.others, *self.others) if file.path not in files}
        unlisted = self.wanted.unlisted if other.wanted.unlisted is not None else None
        if unlisted is not None:
            unlisted = tuple(name for name in unlisted if name not in files and name not in others)
        wanted = replace(self.wanted, files=tuple(files.values()), unlisted=unlisted)
        return ModelManifest(wanted, tuple(others.values()))


def read_manifest(body: bytes, ref: Ref, commit: str, where: str) -> ModelManifest:
    """Parse the manifest of a commit. Raise HubError if it is invalid, of another model, or of a newer format.

    Raise IntegrityError for paths that no file may have: as with any hub, they are no accident.
    """
    try:
        form = msgspec.json.decode(body, type=_ManifestForm)
        if form.version != FORMAT:
            raise HubError(f"{where} has format {form.version}, and this preheat reads only {FORMAT}", hint="update it")
        if (form.hub, form.kind, form.repo, form.commit) != (ref.hub, ref.kind, ref.repo, commit):
            raise HubError(f"{where} is of another model", hint=_AGAIN)
        unlisted = None if form.unlisted is None else tuple(form.unlisted)
        manifest = ModelManifest(Snapshot(ref, commit, _files(form.files), unlisted), _files(form.others))
        _ = manifest.listed  # raises for paths that cannot be in one folder
    except HubError:
        raise
    except IntegrityError as error:
        raise IntegrityError(
            f"{where}: {error.message}", hint="do not trust this store, nor who writes to it"
        ) from error
    except (msgspec.MsgspecError, PreheatError, ValueError, RecursionError) as error:
        why = error.message if isinstance(error, PreheatError) else str(error)
        raise HubError(f"{where} is not a valid manifest: {why}", hint=_AGAIN) from error
    return manifest


def branch_text(ref: Ref, commit: str) -> bytes:
    """Return the document of a branch or tag, as JSON."""
    return msgspec.json.encode(_BranchForm(FORMAT, ref.revision, commit)) + b"\n"


def read_branch(body: bytes, ref: Ref, where: str) -> str:
    """Return the commit in the document of a branch or tag. Raise HubError if it is invalid."""
    try:
        form = msgspec.json.decode(body, type=_BranchForm)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise HubError(f"{where} is not valid: {error}", hint=_AGAIN) from error
    if form.version != FORMAT or form.revision != ref.revision or not ref.at(form.commit).pinned:
        raise HubError(f"{where} is not of {ref}", hint=_AGAIN)
    return form.commit


def _files(triples: Iterable[tuple[str, int, str]]) -> tuple[File, ...]:
    return tuple(File(path, size, Digest.parse(digest)) for path, size, digest in triples)


def _triples(files: Iterable[File]) -> list[tuple[str, int, str]]:
    return [(file.path, file.size, str(file.digest)) for file in sorted(files, key=lambda file: file.path)]
