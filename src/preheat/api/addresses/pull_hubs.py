"""Pull hubs: the hubs and sources of a session's needs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from preheat.core.errors import UsageError
from preheat.core.ref import FOLDER, IMAGE, MADE, SOURCES, STORES, hub_of_host

if TYPE_CHECKING:
    from preheat.api.session import Session
    from preheat.core.ref import Ref
    from preheat.hubs.hub import Hub
    from preheat.hubs.listing import ListingLimit
    from preheat.recipes.recipe import Need
    from preheat.verbs.pull_sources import PullSource

PLACES = (*STORES, "https", "http")  # how the name of an object store begins


def sources_of(need: Need, session: Session) -> list[PullSource]:
    """List the sources of a need: its hub's endpoints, then those of its alias repositories.

    The images and object stores that the user named come first, and those of the need last.
    A made need has the library first, then preheat mirrors. An unpacked one has its server first, then mirrors and the
    library, which may have its members.
    """
    from preheat.verbs.pull_sources import PullSource

    if need.ref.hub in SOURCES:
        kind = "an image" if need.ref.hub == IMAGE else "an object store"
        raise UsageError(f"{need.ref} is {kind}, not a model", hint=f"preheat pull MODEL --from {_words(need.ref)}")
    found = [
        PullSource(endpoint or ref.repo, session.hub(ref, endpoint), ref, local=ref.hub == FOLDER)
        for ref in (need.ref, *need.same)
        if ref.hub not in SOURCES
        for endpoint in _endpoints(ref, session)
    ]
    images = _images(need, session)
    if need.ref.hub != MADE and not need.unpack:
        return [*(one for one in images if one.only), *found, *(one for one in images if not one.only)]
    from preheat.verbs.kept_hub import KeptHub

    kept, ref = KeptHub(session.library), need.stored
    own = PullSource(str(session.library.root), kept, ref, local=True)
    if not need.unpack:
        return [own, *images, *found]
    mirrors = [PullSource(one, session.hub(ref, one), ref) for one in _mirrors(session)]
    return [*found, *([own] if kept.has(ref) else []), *images, *mirrors]


def hub_of(ref: Ref, endpoint: str, token: str, session: Session) -> Hub:
    """Return the hub of a ref, at one of its endpoints. The limits of its listings are reported as events."""

    def listing_limit(listed: Ref) -> ListingLimit:
        from preheat.hubs.listing import ListingLimit

        return ListingLimit(listed, session.on_event)

    match ref.hub:
        case "hf" | "made" | "zip" | "tar":  # a preheat mirror serves these as the Hugging Face hub serves a repository
            from preheat.hubs.huggingface import HuggingFace

            return HuggingFace(endpoint, session.transport, token, listing=listing_limit)
        case "ms":
            from preheat.hubs.modelscope import ModelScope

            return ModelScope(endpoint, session.transport, token, listing=listing_limit)
        case "url":
            from preheat.hubs.url import Url

            return Url(session.transport)
        case _:
            from preheat.hubs.folder import Folder

            return Folder(session.on_event)


def _images(need: Need, session: Session) -> list[PullSource]:
    """List the images and object stores that the user named, and those of the need, as sources of its files."""
    named = dict.fromkeys(session.settings.images, True)
    named |= {_words(ref): False for ref in need.same if ref.hub in SOURCES}
    return [_named_source(words, need, session, only=only) for words, only in named.items()]


def _named_source(words: str, need: Need, session: Session, *, only: bool) -> PullSource:
    from preheat.verbs.pull_sources import PullSource

    locked = None if need.partly else need.locked
    if words.partition(":")[0] in PLACES:
        from preheat.verbs.stores.store_hub import StoreHub

        store = session.object_stores.reads(words)
        return PullSource(store.name, StoreHub(store, locked, need.files), need.stored, only)
    from preheat.oci.model.image_name import read_base
    from preheat.verbs.image_sources.image_hub import ImageHub

    image = session.image_stores.weights(words)
    local = read_base(words).path is not None
    return PullSource(image.name, ImageHub(image, locked), need.stored, only, local=local)


def _words(ref: Ref) -> str:
    """Return the words of --from for an image or an object store in a recipe."""
    return f"docker://{ref.repo}" if ref.hub == IMAGE else str(ref)


def _endpoints(ref: Ref, session: Session) -> tuple[str, ...]:
    """Return the endpoints of a ref's hub; for a made ref the preheat mirrors, since the hubs themselves have none."""
    return _mirrors(session) if ref.hub == MADE else session.endpoints.get(ref.hub, ("",))


def _mirrors(session: Session) -> tuple[str, ...]:
    """Return the preheat mirrors: those of --endpoint made=URL, else the endpoints for hf that are no hub's own."""
    named = session.endpoints.get(MADE, ())
    return named or tuple(
        one for one in session.endpoints.get("hf", ()) if not hub_of_host(urlsplit(one).hostname or "")
    )
