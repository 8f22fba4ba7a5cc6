"""Ref: the name of a model as a user types it; its revision may be a branch, which can move."""

import functools
import ipaddress
import re
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from preheat.core.digest import SHA256, Digest
from preheat.core.errors import UsageError

MODEL, DATASET, SPACE = "model", "dataset", "space"
HUGGING_FACE, MODELSCOPE, URL, FOLDER = "hf", "ms", "url", "file"
MADE, ZIP, TAR, IMAGE = "made", "zip", "tar", "oci"
S3, GCS, AZURE = STORES = ("s3", "gs", "az")
SOURCES = (IMAGE, *STORES)  # these have no models of their own, and are named in `same` or --from
ARCHIVES = (ZIP, TAR)  # each names the members of an archive at a URL, which the library stores instead of the archive

# One path segment as the Hugging Face hub allows it: huggingface_hub/utils/_validators.py, validate_repo_id.
_SEGMENT = r"(?!\.)[A-Za-z0-9._-]{1,96}(?<![.-])"
_REPO = re.compile(rf"(?:{_SEGMENT}/)?{_SEGMENT}")
_WHOLE = rf"(?:(?:hf|ms):)?(?:(?:models|datasets|spaces)/)?(?:{_SEGMENT}/)?{_SEGMENT}(?:@[^@:\s]+)?"
_KINDS = {
    HUGGING_FACE: {"models": MODEL, "datasets": DATASET, "spaces": SPACE},
    MODELSCOPE: {"models": MODEL, "datasets": DATASET},
}
_BRANCHES = {MODELSCOPE: "master"}
# The hubs' own hosts, which issue their tokens; and other public hosts that answer as the hub does.
_OWN_HOSTS = {
    HUGGING_FACE: ("huggingface.co", "www.huggingface.co", "hf.co"),
    MODELSCOPE: ("modelscope.cn", "www.modelscope.cn", "modelscope.ai", "www.modelscope.ai"),
}
_OTHER_HOSTS = {HUGGING_FACE: ("hf-mirror.com", "hub-ci.huggingface.co"), MODELSCOPE: ()}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST_SLUG, _LONGEST_NAME = 200, 255  # a file's name has at most 255 bytes: NAME_MAX of limits.h
# Query parameters of signed addresses: a record must not store them.
_SIGNED = (
    r"(?i:(?:.*[-_.])?(?:signature|token|credentials?|passw(?:or)?d|secret|auth|authorization|api-?key|access-?key|key|jwt"
    r"|session|sig|policy|pwd)|x-(?:amz|goog)-.*)"
)

# Its parts are checked by oci.model.image_name when the image is opened.
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9.:-]*/[a-z0-9][a-z0-9._/-]*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
STORE_PATH = r"//[A-Za-z0-9][A-Za-z0-9._-]{1,253}(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~=@+-]+)*"
_STORE = (STORE_PATH, "a place in an object store", "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
_SOURCES = dict.fromkeys(STORES, _STORE)
_SOURCES[IMAGE] = (_IMAGE, "an image in a registry", "oci:REGISTRY/REPOSITORY@sha256:HEX")

_HINT = "a model is owner/name[@revision], hf:datasets/owner/name, ms:owner/name, https://…#sha256=HEX or file:DIR"
# What stands before the name in addresses of Hugging Face: fsspec's, git's and the site's.
_FORMS = r"^(?:hf://|(?:https?://)?(?:git@)?(?:www\.)?(?:huggingface\.co|hf\.co)[/:])"
_MADE_HINT, _URL_HINT = "made:APP/NAME, as `preheat trace` writes it", "https://host/file#sha256=HEX"


class Ref(msgspec.Struct, frozen=True):
    """A repository on a hub and a revision of it: branch, tag or commit.

    For the hub `url`, the repository is the address including `#sha256=`, which also pins it. For `zip` and `tar` it is
    the address of an archive, and the files are the archive's members. `made` names what an app's first start wrote.
    For `oci` it is an image, for `s3`, `gs` and `az` a bucket: they are only sources of other models' files.
    """

    hub: str
    kind: str
    repo: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a ref such as `hf:owner/name@revision`; raise UsageError if it is invalid."""
        scheme, colon, rest = text.partition(":")
        if not colon:
            scheme, rest = HUGGING_FACE, text
        match scheme:
            case "hf" | "ms":
                return cls._parse_repository(scheme, text, rest)
            case "http" | "https":
                return cls._parse_url(text)
            case "zip" | "tar":
                archive = cls._parse_url(rest)
                return cls(scheme, MODEL, archive.repo, archive.revision)
            case "made":
                return cls._parse_made(text, rest)
            case _ if scheme in _SOURCES:
                form, what, hint = _SOURCES[scheme]
                if not re.fullmatch(form, rest):
                    raise UsageError(f"{text!r} is not {what}", hint=hint)
                return cls(scheme, MODEL, rest)
            case "file":
                if any(0xD800 <= ord(letter) < 0xE000 for letter in rest):
                    raise UsageError(f"{text!r} names a folder whose name is not UTF-8", hint="rename it")
                if not rest:
                    raise UsageError(f"{text!r} names no folder", hint="file:DIR")
                return cls(FOLDER, MODEL, str(read_path(rest)))
            case _:
                why = f"{text!r} is not a model's name: {scheme}: is not known here"
                raise UsageError(why, hint=_meant(text) + _HINT)

    @classmethod
    def _parse_repository(cls, hub: str, text: str, rest: str) -> Self:
        name, at, revision = rest.partition("@")
        kind = MODEL
        prefix, slash, tail = name.partition("/")
        if slash and prefix in _KINDS[hub] and "/" in tail:
            kind, name = _KINDS[hub][prefix], tail
        if not _REPO.fullmatch(name) or "--" in name or ".." in name or (hub == MODELSCOPE and "/" not in name):
            raise UsageError(f"{text!r} is not a model's name", hint=_meant(text) + _HINT)
        if at and not is_revision(revision):
            raise UsageError(f"{revision!r} is not a revision", hint="a branch, a tag or a commit")
        return cls(hub, kind, name, revision or _branch(hub))

    @classmethod
    def _parse_made(cls, text: str, rest: str) -> Self:
        name, at, revision = rest.partition("@")
        if not _REPO.fullmatch(name) or "/" not in name or "--" in name or ".." in name:
            raise UsageError(f"{text!r} does not name what an app's start wrote", hint=_MADE_HINT)
        if at and not is_revision(revision):
            raise UsageError(f"{revision!r} is not a revision", hint="a commit, as in the recipe's lock")
        return cls(MADE, MODEL, name, revision or _branch(MADE))

    @classmethod
    def _parse_url(cls, text: str) -> Self:
        address, _, fragment = text.partition("#")
        algorithm, _, value = fragment.partition("=")
        try:
            digest = Digest(SHA256, value.lower())
            parts = urlsplit(address)
            host, port = parts.hostname or "", parts.port
        except (ValueError, UsageError) as error:
            raise UsageError(f"{text!r} is not an address with a digest", hint=_URL_HINT) from error
        if algorithm != SHA256 or not re.fullmatch(r"[!-~]+", address) or "\\" in address or not host or port == 0:
            raise UsageError(f"{text!r} is not an address with a digest", hint=_URL_HINT)
        if parts.username is not None or any(re.fullmatch(_SIGNED, name) for name, _ in parse_qsl(parts.query)):
            # The message omits the address, since it contains a secret.
            raise UsageError(
                f"the address at {host} contains a password or a signature, which would be stored in the record",
                hint="use an address without one; for files that require a token, use hf: or ms:",
            )
        if not _file_name(parts.path):
            raise UsageError(f"{text!r} names no file", hint=_URL_HINT)
        if parts.scheme == "http" and not is_near(host):
            raise UsageError(f"{text!r} is not encrypted, and not in the local network", hint="https://…")
        return cls(URL, MODEL, f"{address}#{digest.algorithm}={digest.hex}", digest.hex[:40])

    def __str__(self) -> str:
        match self.hub:
            case "url":
                return self.repo
            case "zip" | "tar" | "file" | "oci" | "s3" | "gs" | "az":
                return f"{self.hub}:{self.repo}"
        prefix = "" if self.kind == MODEL else f"{self.kind}s/"
        revision = "" if self.revision == self.branch else f"@{self.revision}"
        return f"{self.hub}:{prefix}{self.repo}{revision}"

    @property
    def branch(self) -> str:
        """The default branch."""
        return _branch(self.hub)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which cannot move."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def address(self) -> str:
        """For a `url`, `zip` or `tar`: the address without the digest."""
        return self.repo.partition("#")[0]

    @property
    def digest(self) -> Digest:
        """For a `url`: the expected digest of the file."""
        return Digest(SHA256, self.repo.rpartition("=")[2])

    @property
    def file_name(self) -> str:
        """For a `url`: the last segment of its path."""
        return _file_name(urlsplit(self.address).path)

    @property
    def slug(self) -> str:
        """A folder name for the repository: `models--owner--name`, as in Hugging Face caches.

        For a `url`: `HOST--DIGEST--FILE`, at most 200 bytes, with the digest of the whole address. Other names too
        long for a file name are shortened in the same way.
        """
        if self.hub == URL or self.hub in ARCHIVES:
            host = quote(urlsplit(self.address).netloc, safe="")
            return _short(f"{host[:80]}--{_short_digest(self.repo)}--", quote(self.file_name, safe=""))
        return _slug(self.kind, self.repo)

    @property
    def how_to_get(self) -> str:
        """Return what to do if the library lacks it: a command, for a hint."""
        if self.hub != MADE:
            return f"preheat pull {self}"
        mirror = f"preheat pull {self} --endpoint made=URL; URL is a mirror of the library that has it"
        carried = "or carry it over: preheat export APP -o app.tar, where it was traced; here: preheat import app.tar"
        return f"{mirror}; {carried}; or make it again: preheat trace -- CMD"

    def members(self, kind: str) -> "Ref":
        """Return the ref of the members of the archive at this `url`; `kind` is `zip` or `tar`."""
        return Ref(kind, self.kind, self.repo, self.revision)

    def at(self, revision: str) -> "Ref":
        """Return the same repository at another revision."""
        return Ref(self.hub, self.kind, self.repo, revision)


def read_path(text: str) -> Path:
    """Return the absolute path for a path that a user typed. Raise UsageError if its `~` has no home folder."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(f"{text!r} begins with ~, but there is no such home folder", hint="use a full path") from error


@functools.lru_cache(maxsize=256)
def is_repository(ref: Ref) -> bool:
    """Whether the repository's name is valid on its hub; for refs from the network."""
    try:
        # The name alone, since `datasets/squad` would read as a model's owner and name.
        named = Ref.parse(f"{ref.hub}:{ref.repo}")
    except UsageError:
        return False
    # The digest in an archive's address pins it.
    revision = named.revision if ref.hub in ARCHIVES else ref.branch
    return (named.hub, named.kind, named.repo, named.revision) == (ref.hub, MODEL, ref.repo, revision)


@functools.lru_cache(maxsize=256)
def is_revision(text: str) -> bool:
    """Whether `text` is valid as a git branch, tag or commit (the main rules of git-check-ref-format(1))."""
    return bool(re.fullmatch(r"[^\x00-\x20\x7f~^:?*\[\\@\ud800-\udfff]+", text)) and not re.search(
        r"\.\.|//|^/|/$|\.lock$|(^|/)\.|\.$", text
    )


def hub_of_host(host: str) -> str:
    """Return the hub (`hf`, `ms`) that a public host is, or is a mirror of; "" for any other host."""
    return next((hub for hub in _OWN_HOSTS if host in _OWN_HOSTS[hub] or host in _OTHER_HOSTS[hub]), "")


def issues_tokens(hub: str, host: str) -> bool:
    """Return whether a host is the hub's own, to which alone its tokens belong."""
    return host in _OWN_HOSTS[hub]


def _branch(hub: str) -> str:
    return _BRANCHES.get(hub, "main")


def _file_name(path: str) -> str:
    """Return the file name in the path of an address; empty if it is not a valid file name."""
    name = unquote(path.rpartition("/")[2])
    hostile = name in (".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name) or len(name.encode()) > 255
    return "" if hostile else name


def is_near(host: str) -> bool:
    """Whether a host is this machine or, judged by its address or name, in the local network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa", ".localhost"))


@functools.lru_cache(maxsize=256)
def _slug(kind: str, repo: str) -> str:
    slug = f"{kind}s--" + quote(repo.replace("/", "--"), safe=" ")
    return slug if len(slug) <= _LONGEST_NAME else _short(f"{kind}s--{_short_digest(repo)}--", slug)


def _short(front: str, back: str) -> str:
    """Join two texts, to at most 200 characters; the start of the second is cut off, as endings differ more."""
    return front + back[-(_LONGEST_SLUG - len(front)) :]


def _short_digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _meant(text: str) -> str:
    """Return the beginning of a hint: the name that the forms of other tools, or a folder's path, most likely mean."""
    if text.startswith(("./", "../", "/", "~")):
        return f"for a folder: file:{text}; "
    name = re.sub(_FORMS, "", text.strip()).removesuffix(".git").strip("/")
    name = re.sub("(?i)^(hf|ms):(//)?", lambda found: f"{found[1].lower()}:", name)
    hub, colon, rest = name.partition(":")
    if colon and "/" in hub:
        name = f"{hub}@{rest}"  # as docker and ollama name tags
    # A mistake in another text would be followed by a hint of its own, and so on.
    if name == text or not re.fullmatch(_WHOLE, name) or "--" in name or ".." in name:
        return ""
    return f"did you mean {Ref.parse(name)}? "
