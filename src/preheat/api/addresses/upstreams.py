"""Upstreams: parse the upstreams of a mirror, each with its own connections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from preheat.api.addresses.endpoints import origin
from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.listing import ListingLimit, ListingMemory
from preheat.hubs.modelscope import ModelScope
from preheat.mirror.upstream.upstream import Upstream
from preheat.net.address_fence import Fence
from preheat.net.http import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from preheat.hubs.hub import Hub
    from preheat.mirror.upstream.requester import Asker
    from preheat.net.http import NetworkSettings

CONNECTIONS = 64


def read_upstreams(
    words: Sequence[str], tokens: Mapping[str, str], network: NetworkSettings, *, in_order: bool = False
) -> list[Upstream]:
    """Parse a mirror's upstreams, each with its own connections and restricted to allowed addresses.

    `tokens`: by URL, sent to an upstream for clients without a token. `in_order`: each stands in for those before it,
    so a host that is gone is noticed within seconds, except the last one's. Raise UsageError for a token whose URL is
    not an upstream.
    """
    memory = ListingMemory()
    last = {one.partition("=")[0]: one for one in words}.values()
    near = network.near if in_order else network
    behind = [_upstream(one, tokens, network if one in last else near, memory) for one in words]
    if unknown := tokens.keys() - {upstream.url.rstrip("/") for upstream in behind}:
        hint = "--upstream hf=URL --upstream-token URL=FILE"
        raise UsageError(f"{min(unknown)} has a token, but is not an --upstream", hint=hint)
    return behind


def _upstream(words: str, tokens: Mapping[str, str], network: NetworkSettings, memory: ListingMemory) -> Upstream:
    hub, _, url = words.partition("=")
    if hub not in ("hf", "ms") or not url.startswith(("http://", "https://")) or not origin(url)[0]:
        raise UsageError(
            f"{words!r} is not a valid upstream",
            hint="--upstream hf=https://huggingface.co, --upstream ms=https://modelscope.cn, or another mirror",
        )
    # Limit the size and time of API documents, because many clients of a mirror wait for them.
    transport = Transport(replace(network, fence=Fence(url), largest_document=48 << 20, document_s=10.0))
    make = HuggingFace if hub == "hf" else ModelScope
    kept = tokens.get(url.rstrip("/"), "")

    def connect(asker: Asker) -> Hub:
        listing = partial(ListingLimit, memory=memory, client=asker.client)
        return make(url, transport, asker.token or kept, asker.headers, listing)

    return Upstream(hub, url, connect)
