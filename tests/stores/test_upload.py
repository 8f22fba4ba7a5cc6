"""Uploads in parts: what ends them is told as it is."""

from collections.abc import Iterator

import pytest

from preheat.api.session import Session
from preheat.core.errors import HubUnavailable
from tests.small_store import StoreFaults, store_serving

PIECE = b"\0" * (1 << 20)


def test_a_store_that_fails_before_the_last_piece_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(64):
            taken.append(number)
            yield PIECE

    with store_serving(StoreFaults(broken_parts=100), tls=False) as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        bucket = Session().object_stores.bucket("s3://models/team")
        with pytest.raises(HubUnavailable, match="500"):
            bucket.upload("large", pieces(), 64 * len(PIECE), 2)
    assert len(taken) < 64
    assert store.objects == {}
