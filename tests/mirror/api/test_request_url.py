"""The repository and file of a request are parsed from its target alone, consistently with the mirror's routes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.ref import Ref
from preheat.hubs.hf_api import resolve_path
from preheat.hubs.ms_api import file_path as ms_file_path
from preheat.mirror.api.request_url import Asked, asked_at, asked_by

SEGMENT = st.from_regex(r"[A-Za-z0-9ü _#?&%.-]{1,8}", fullmatch=True).filter(lambda name: name.strip(".") == name)
PATHS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
REVISIONS = st.sampled_from(["main", "refs/pr/1", "v1.0", "a" * 40])


@given(st.sampled_from(["acme/tiny", "gpt2", "datasets/acme/rows", "spaces/acme/show"]), REVISIONS, PATHS)
def test_requests_of_our_own_client_are_parsed(name: str, revision: str, path: str) -> None:
    ref = Ref.parse(name).at(revision)
    assert asked_by(resolve_path(ref, revision, path)) == Asked(ref, path)
    assert asked_at(f"https://huggingface.co{resolve_path(ref, revision, path)}") == Asked(ref, path)


@given(st.sampled_from(["ms:acme/tiny", "ms:datasets/acme/rows"]), st.sampled_from(["master", "v1.0"]), PATHS)
def test_requests_of_our_client_to_modelscope_are_parsed(name: str, revision: str, path: str) -> None:
    ref = Ref.parse(name).at(revision)
    assert asked_by(ms_file_path(ref, revision, path)) == Asked(ref, path)


@pytest.mark.parametrize(
    ("target", "ref"),
    [
        ("/api/models/acme/tiny", "hf:acme/tiny"),
        ("/api/models/acme/tiny/revision/main", "hf:acme/tiny"),
        ("/api/models/acme/tiny/tree/v2?recursive=true", "hf:acme/tiny@v2"),
        ("/api/datasets/acme/rows/revision/refs%2Fpr%2F1?blobs=true", "hf:datasets/acme/rows@refs/pr/1"),
        ("/api/v1/models/acme/tiny/repo/files?Revision=master&Recursive=True", "ms:acme/tiny"),
    ],
)
def test_a_request_for_the_whole_repository_has_no_file(target: str, ref: str) -> None:
    assert asked_by(target) == Asked(Ref.parse(ref))


@pytest.mark.parametrize(
    "target", ["/", "/api/whoami-v2", "/api/models", "/metrics", "/acme/tiny/resolve/main", "/%ff"]
)
def test_other_requests_have_no_repository(target: str) -> None:
    assert asked_by(target) is None


def test_only_the_hubs_own_hosts_count_as_hubs() -> None:
    assert asked_at("https://example.org/acme/tiny/resolve/main/a.bin") is None
    assert asked_at("https://hf-mirror.com/acme/tiny/resolve/main/a.bin") == Asked(Ref.parse("acme/tiny"), "a.bin")
    at_ms = asked_at("https://www.modelscope.cn/models/acme/tiny/resolve/master/a.bin")
    assert at_ms == Asked(Ref.parse("ms:acme/tiny"), "a.bin")
    assert asked_at("not an address") is None
