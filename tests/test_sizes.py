"""What is larger than its limit in docs/limits.md is an error, or is not read."""

import os
from pathlib import Path

import pytest

from preheat.api.addresses.endpoints import require_token
from preheat.core.errors import LibraryError, UsageError
from preheat.core.ref import Ref
from preheat.hubs.hf_api import next_page
from preheat.library.records.records import Records
from preheat.mirror.http.messages import Refused, read_target
from preheat.oci.registry.response_parsing import read_challenge
from preheat.recipes.lock_file import read_lock
from preheat.recipes.recipe import read_recipe
from preheat.verbs.tracing import traced_start

COMMIT = "a" * 40


def sparse(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


def test_a_query_has_20_000_fields() -> None:
    _, fields = read_target("/a?" + "&".join(["x=1"] * 20_000))
    assert len(fields["x"]) == 20_000
    with pytest.raises(Refused) as refused:
        read_target("/a?" + "&".join(["x=1"] * 20_001))
    assert refused.value.answer.status == 400


def test_a_recipe_and_a_lock_have_64_mib(tmp_path: Path) -> None:
    large = sparse(tmp_path / "preheat.toml", (64 << 20) + 1)
    with pytest.raises(UsageError, match="is larger than 67108864 bytes"):
        read_recipe(large)
    with pytest.raises(UsageError, match="is larger than 67108864 bytes"):
        read_lock(large)


def test_a_record_has_64_mib(tmp_path: Path) -> None:
    sparse(tmp_path / f"hf/models--acme--tiny/{COMMIT}.json", (64 << 20) + 1)
    with pytest.raises(LibraryError, match="file too large"):
        Records(tmp_path).find(Ref.parse("acme/tiny").at(COMMIT))


def test_notes_of_one_process_have_256_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert traced_start._MOST_NOTED == 256 << 20
    monkeypatch.setattr(traced_start, "_MOST_NOTED", 1000)
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").write_bytes(b"y" * 1001)
    os.mkfifo(tmp_path / "c")
    assert list(traced_start._texts(sorted(tmp_path.iterdir()))) == ["x" * 1000]


def test_a_link_header_is_read_up_to_a_fixed_length() -> None:
    link = '<http://x/?a=1>; rel="next"'
    assert next_page("<b>," * 4_000 + link) is not None
    assert next_page("<b>," * 5_000 + link) is None


def test_a_challenge_is_read_up_to_a_fixed_length() -> None:
    realm = 'realm="https://x/t"'
    assert read_challenge("Bearer " + 'a="b",' * 2_700 + realm) is not None
    assert read_challenge("Bearer " + 'a="b",' * 2_800 + realm) is None


def test_a_token_has_4096_letters() -> None:
    assert require_token("a" * 4096) == "a" * 4096
    for bad in ("a" * 4097, "a b", "a\nb", "ä"):
        with pytest.raises(UsageError):
            require_token(bad)
