"""Refs mean what people type, and nothing that could leave a folder is a ref."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.errors import PreheatError, UsageError
from preheat.ref import Ref


@pytest.mark.parametrize(
    ("text", "said", "slug"),
    [
        ("openai/whisper-tiny.en", "hf:openai/whisper-tiny.en", "models--openai--whisper-tiny.en"),
        ("hf:gpt2", "hf:gpt2", "models--gpt2"),
        ("hf:datasets/me/words@v1", "hf:datasets/me/words@v1", "datasets--me--words"),
        ("hf:spaces/me/page@refs/pr/3", "hf:spaces/me/page@refs/pr/3", "spaces--me--page"),
        ("hf:models/me/x", "hf:me/x", "models--me--x"),
        ("file:/models/x", "file:/models/x", "models----models--x"),
    ],
)
def test_a_ref_is_read_and_said_back(text: str, said: str, slug: str) -> None:
    ref = Ref.parse(text)
    assert (str(ref), ref.slug) == (said, slug)
    assert Ref.parse(said) == ref


@pytest.mark.parametrize(
    "text",
    ["", "a/b/c", "../x", "hf:", "hf:a/..", "a/b@..", "a/b@x y", "s3://bucket", "file:", "a--b/c", "a/b@-\x00", ".x/y"],
)
def test_what_cannot_be_a_ref_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Ref.parse(text)


@given(st.text())
def test_no_text_makes_a_slug_that_leaves_its_folder(text: str) -> None:
    try:
        slug = Ref.parse(text).slug
    except PreheatError:
        return
    assert "/" not in slug
    assert "\x00" not in slug
    assert slug not in (".", "..")


def test_only_a_commit_is_pinned() -> None:
    assert Ref.parse("a/b@" + "0" * 40).pinned
    assert not Ref.parse("a/b").pinned
