"""Tree listing: the bytes that the client's own json.dumps writes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest, sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.views.layouts.hf_tree import tree_listing


@given(
    st.lists(
        # A name has at most 255 bytes, and a character up to four.
        st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/\\"), min_size=1).filter(
            lambda name: len(f"x{name}".encode()) <= 255
        ),
        max_size=4,
    )
)
def test_a_listing_is_what_json_dumps_writes(names: list[str]) -> None:
    digests = (sha256("a" * 64), Digest("git-sha1", "b" * 40))
    files = tuple(File(f"x{name}", at, digests[at % 2]) for at, name in enumerate(sorted(set(names))))
    body = tree_listing(Snapshot(Ref.parse("hf:a/b"), "c" * 40, files))
    assert body == json.dumps(json.loads(body), indent=1).encode()
    assert list(json.loads(body)["files"]) == sorted(file.path for file in files)
