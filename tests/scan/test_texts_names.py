"""Names of texts: the extension decides how a file is scanned."""

from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from preheat.scan.texts import suffix_of


@given(st.text(st.sampled_from("aB./ é"), max_size=8))
def test_an_extension_is_that_of_the_path(name: str) -> None:
    path = PurePosixPath(f"x/{name}x")
    assert suffix_of(str(path)) == path.suffix.lower()
