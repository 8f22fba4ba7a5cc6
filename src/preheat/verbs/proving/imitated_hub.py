"""Imitated hub: a local server that is as slow as a distant hub; it serves what the library has."""

import contextlib
import time
from collections.abc import Iterator

from preheat.core.errors import UsageError
from preheat.core.ref import HUGGING_FACE, MODELSCOPE, Ref
from preheat.library.library import Library
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from preheat.mirror.upstream.recorded_find import Kept
from preheat.proof.report.report import Imitated
from preheat.recipes.recipe import Recipe
from preheat.verbs.locked_needs import required


@contextlib.contextmanager
def far_hub(recipe: Recipe, library: Library, imitated: Imitated) -> Iterator[str]:
    """Serve what `recipe` needs for as long as the `with` lasts; give the URL, for every hub's API.

    Each connection is held to the rate by the kernel, each answer comes the round trip late; connecting costs no
    round trip of its own. Raise NotPreloaded for what is not in the library, UsageError for what has no hub.
    """
    for need in recipe.needs:
        if need.ref.hub not in (HUGGING_FACE, MODELSCOPE):
            raise UsageError(f"{need.ref} comes from no hub that could be imitated", hint="leave --hub-rate out")
        required(need, library)

    kept = Kept(library)

    def find(ref: Ref) -> ServedSnapshot | None:
        return kept.find(ref)

    def late(request: Request) -> Answer:
        time.sleep(imitated.rtt_s)
        return answer(request, find)

    with Server(("127.0.0.1", 0), late, lambda _event: None, imitated.rate) as server:
        yield server.url
