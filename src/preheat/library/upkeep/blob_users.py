"""Blob users: what uses blobs without a record: views, pulls in progress and folded files."""

import os
from pathlib import Path
from shlex import quote

import msgspec

from preheat.library.records.claims import FOLD, VIEW, Claim, Claims, linked, still_folded


class BlobUser(msgspec.Struct, frozen=True):
    """What uses a blob, as a sentence. `remedy`: the command that ends the use, empty if there is none."""

    said: str
    remedy: str = ""


NEW = BlobUser("it is new")


def blob_users(root: Path, claims: Claims) -> dict[str, BlobUser]:
    """Return what uses blobs of the library at `root` without a record, by `algorithm:hex`."""
    blobs = root / "blobs"
    users: dict[str, BlobUser] = {}
    for view in _folders(root / "views"):
        users |= dict.fromkeys(
            linked(view, blobs), BlobUser(f"the view {view} links to it", f"rm -r {quote(str(view))}")
        )
    links: dict[str, set[str]] = {}  # by folder: many claims may be about one
    for claim in claims:
        if claim.by == VIEW and claim.here and claim.at not in links:
            links[claim.at] = linked(Path(claim.at), blobs)
        user = _user(claim, blobs)
        if claim.by == FOLD:
            names = still_folded(claim, blobs) if claim.here else claim.digests
        else:
            names = claim.digests & links[claim.at] if claim.by == VIEW and claim.here else claim.digests
        users |= dict.fromkeys(names, user)
    return users


def _user(claim: Claim, blobs: Path) -> BlobUser:
    if claim.by == FOLD:
        return BlobUser(f"folded files of apps on {claim.machine} are links to it")
    if claim.by != VIEW:
        return BlobUser(f"a pull on {claim.machine} needs it")
    if not claim.here:
        return BlobUser(f"the view {claim.at} on {claim.machine} links to it")
    # Only links into this library: the folder may have other files of its user.
    into = quote(f"{os.path.realpath(blobs)}/*")
    return BlobUser(f"the view {claim.at} links to it", f"find {quote(claim.at)} -lname {into} -delete")


def _folders(views: Path) -> list[Path]:
    """Return the folders of the library's own views, one for each app."""
    try:
        return [Path(entry.path) for entry in os.scandir(views) if entry.is_dir()]
    except OSError:
        return []
