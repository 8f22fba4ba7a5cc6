"""Name search: the requests that list a hub's models by owner and by name, and the names in their responses.

For Hugging Face, as `list_models` of huggingface_hub 1.0 requests it; for ModelScope, its OpenAPI. Without I/O.
"""

import re
from urllib.parse import urlencode

import msgspec

from preheat.core.ref import DATASET, HUGGING_FACE, MODELSCOPE, Ref, is_repository

MOST_NAMES = 50  # in a response


class _Listed(msgspec.Struct):
    id: str = ""


class _ListedData(msgspec.Struct):
    models: list[_Listed] = []
    datasets: list[_Listed] = []


class _ListedDocument(msgspec.Struct):
    data: _ListedData


def search_paths(ref: Ref) -> tuple[str, ...]:
    """Return the API paths of searches for a mistyped repository, the most promising first; none for other hubs.

    Another name of the same owner, the same name of another owner, and names with the longest word of it.
    """
    owner, _, name = ref.repo.rpartition("/")
    longest = max(re.findall(r"[A-Za-z]{3,}", name), key=len, default="")
    if ref.hub == HUGGING_FACE:
        fixed = {"sort": "downloads", "direction": "-1", "limit": MOST_NAMES}
        path, by_owner, by_name = f"/api/{ref.kind}s", "author", "search"
    elif ref.hub == MODELSCOPE:
        fixed = {"sort": "downloads", "page_number": 1, "page_size": MOST_NAMES}
        path, by_owner, by_name = f"/openapi/v1/{'datasets' if ref.kind == DATASET else 'models'}", "owner", "search"
    else:
        return ()
    queries = [{by_owner: owner}] if owner else []
    queries += [{by_name: word} for word in dict.fromkeys((name, longest)) if word]
    return tuple(f"{path}?{urlencode({**query, **fixed})}" for query in queries)


def read_names(body: bytes, ref: Ref) -> tuple[Ref, ...]:
    """Return the valid names in the response to a search for `ref`; none if it is no such response."""
    try:
        if ref.hub == HUGGING_FACE:
            listed = msgspec.json.decode(body, type=list[_Listed])
        else:
            data = msgspec.json.decode(body, type=_ListedDocument).data
            listed = data.datasets if ref.kind == DATASET else data.models
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return ()
    found = (Ref(ref.hub, ref.kind, one.id, ref.branch) for one in listed[:MOST_NAMES])
    return tuple(one for one in found if is_repository(one))
