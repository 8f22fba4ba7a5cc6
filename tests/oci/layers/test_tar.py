"""Tar: the size of a header is known without making it; links between folders are as short as relpath's."""

import posixpath

from hypothesis import given
from hypothesis import strategies as some

from preheat.oci.layers.tar import FILE, FOLDER, LINK, Header, header, header_size
from preheat.oci.layers.view_entries import relative

_NAMES = some.text(some.sampled_from("aä. "), min_size=1, max_size=60)
_PATHS = some.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_FOLDER = some.lists(some.sampled_from(("a", "b", "c..", " ")), max_size=4)


@given(
    _PATHS,
    some.sampled_from((FILE, FOLDER, LINK)),
    some.sampled_from((0, 1, 8**11 - 1, 8**11)),
    some.one_of(some.just(""), _PATHS),
    some.integers(0, 64).map(lambda blocks: 512 * blocks),
    some.booleans(),
)
def test_the_size_of_a_header_is_that_of_its_bytes(
    path: str, kind: str, size: int, target: str, at: int, aligned: bool
) -> None:
    entry = Header(path, kind, size, target)
    assert header_size(entry, at, aligned=aligned) == len(header(entry, at, aligned=aligned))


@given(_FOLDER, _FOLDER)
def test_a_link_leads_to_its_file(folder: list[str], links: list[str]) -> None:
    path, link = "/".join((*folder, "file")), "/".join((*links, "link"))
    assert relative(path, link) == posixpath.relpath(f"/{path}", posixpath.dirname(f"/{link}"))
