"""Names in object stores: addresses that are understood, and keys that need no encoding."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.stores.store_address import StoreAddress
from preheat.stores.store_keys import app_key, branch_key, model_key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://models", "s3://models"),
        ("s3://models/", "s3://models"),
        ("gs://my.models/a/b_c/", "gs://my.models/a/b_c"),
        ("az://box/2026=06/x", "az://box/2026=06/x"),
    ],
)
def test_an_address_is_read(text: str, said: str) -> None:
    address = StoreAddress.parse(text)
    assert str(address) == said
    assert StoreAddress.parse(said) == address
    assert str(Ref.parse(said)) == said


@pytest.mark.parametrize(
    "text",
    [
        *("", "s3:", "s3://", "s3:models", "models", "file:///x", "s3://a/../b", "s3://models/a b"),
        *("s3://me:pw@models/x", "s3://models/a?X-Amz-Signature=1", "s3://models//a", "s3://models/%2e"),
        *("s3://models/ä", "S3://models"),
    ],
)
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        StoreAddress.parse(text)


@given(some.text(min_size=1, max_size=300))
def test_keys_have_plain_characters_only(name: str) -> None:
    for key in (app_key(name, "preheat.lock"), branch_key(Ref("hf", "model", "acme/tiny", name))):
        assert re.fullmatch(r"[A-Za-z0-9._/~-]+", key)
        assert ".." not in key.split("/")
        assert len(key) < 400


def test_other_names_have_other_keys() -> None:
    names = ["a", "a b", "a_b", "a/b", "a%2Fb", "ä", ".a", "a" * 201, "a" * 202]
    assert len({app_key(name, "x") for name in names}) == len(names)
    assert model_key(Ref.parse("acme/tiny"), "a" * 40) == f"models/hf/models--acme--tiny/{'a' * 40}.json"
    url = Ref.parse(f"https://host.example/a%20b/file%20one.bin#sha256={'0' * 64}")
    assert "%" not in model_key(url, url.revision)
