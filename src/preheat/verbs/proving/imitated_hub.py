"""Imitated hub: a local server that serves the library as slowly as a distant hub."""

import contextlib
import time
from collections.abc import Iterator

from preheat.core.errors import UsageError
from preheat.core.ref import HUGGING_FACE, MADE, MODELSCOPE, Ref
from preheat.library.library import Library
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from preheat.mirror.upstream.recorded_find import Kept
from preheat.proof.report.report import Imitated
from preheat.recipes.recipe import Recipe
from preheat.verbs.locked_needs import all_required


@contextlib.contextmanager
def far_hub(recipe: Recipe, library: Library, imitated: Imitated) -> Iterator[str]:
    """Serve the needs of `recipe` inside the `with` block; yield the server's URL, which serves every hub's API.

    The kernel limits the rate of each connection; each response is delayed by one round trip, and connecting adds no
    further delay. Raise NotPreloaded for files that are not in the library, UsageError for needs that do not come from
    Hugging Face or ModelScope.
    """
    for need in recipe.needs:
        # Made files come from the library, however slow the hub is.
        if need.ref.hub not in (HUGGING_FACE, MODELSCOPE, MADE):
            raise UsageError(f"{need.ref} does not come from a hub that can be imitated", hint="omit --hub-rate")
    all_required(recipe, library)

    kept = Kept(library)

    def find(ref: Ref) -> ServedSnapshot | None:
        return kept.find(ref)

    def late(request: Request) -> Answer:
        time.sleep(imitated.rtt_s)
        return answer(request, find)

    with Server(("127.0.0.1", 0), late, lambda _event: None, imitated.rate) as server:
        yield server.url
