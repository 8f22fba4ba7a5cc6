"""Refs: parse what users type; no ref can name a path outside its folder."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import PreheatError, UsageError
from preheat.core.ref import Ref, hub_of_host, issues_tokens

HEX = "5f6c1d3a2b4e8f7091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708"


@pytest.mark.parametrize(
    ("text", "said", "slug"),
    [
        ("openai/whisper-tiny.en", "hf:openai/whisper-tiny.en", "models--openai--whisper-tiny.en"),
        ("hf:gpt2", "hf:gpt2", "models--gpt2"),
        ("hf:datasets/me/words@v1", "hf:datasets/me/words@v1", "datasets--me--words"),
        ("hf:spaces/me/page@refs/pr/3", "hf:spaces/me/page@refs/pr/3", "spaces--me--page"),
        ("hf:models/me/x", "hf:me/x", "models--me--x"),
        ("file:/models/x", "file:/models/x", "models----models--x"),
        ("ms:IndexTeam/IndexTTS-2", "ms:IndexTeam/IndexTTS-2", "models--IndexTeam--IndexTTS-2"),
        ("ms:acme/tiny@master", "ms:acme/tiny", "models--acme--tiny"),
        ("ms:acme/tiny@main", "ms:acme/tiny@main", "models--acme--tiny"),
        ("ms:datasets/acme/rows@v1", "ms:datasets/acme/rows@v1", "datasets--acme--rows"),
    ],
)
def test_parsing_and_formatting_a_ref_are_inverse(text: str, said: str, slug: str) -> None:
    ref = Ref.parse(text)
    assert (str(ref), ref.slug) == (said, slug)
    assert Ref.parse(said) == ref


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a/b/c",
            "../x",
            "hf:",
            "hf:a/..",
            "a/b@..",
            "a/b@x y",
            "s4://bucket",
            "file:",
            "a--b/c",
            "a/b@-\x00",
            ".x/y",
        ),
        *("ms:", "ms:tiny", "ms:a/..", "ms:spaces/a/b", "ms:a/b@", "ms:a/b@x y"),
    ],
)
def test_invalid_refs_are_rejected(text: str) -> None:
    with pytest.raises(UsageError):
        Ref.parse(text)


@given(st.text())
def test_no_text_makes_a_slug_outside_its_folder(text: str) -> None:
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


def test_an_address_is_pinned_by_its_digest_and_keeps_its_file_name() -> None:
    ref = Ref.parse(f"https://example.org/models/voice%20one.onnx?download=true#sha256={HEX.upper()}")
    assert str(ref) == f"https://example.org/models/voice%20one.onnx?download=true#sha256={HEX}"
    assert Ref.parse(str(ref)) == ref
    assert (ref.hub, ref.pinned, ref.revision) == ("url", True, HEX[:40])
    assert ref.address == "https://example.org/models/voice%20one.onnx?download=true"
    assert (ref.digest, ref.file_name) == (sha256(HEX), "voice one.onnx")
    assert ref.slug.startswith("example.org--")
    assert ref.slug.endswith("--voice%20one.onnx")


def test_two_addresses_never_share_a_slug() -> None:
    addresses = ["https://a.org/x/f", "https://a.org/y/f", "https://a.org:444/x/f", "https://a.org/x/f?v=2"]
    slugs = {Ref.parse(f"{address}#sha256={hexes}").slug for address in addresses for hexes in (HEX, "0" * 64)}
    assert len(slugs) == 8


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:80", "192.168.1.20", "nas", "nas.local"])
def test_an_address_in_the_local_network_may_be_unencrypted(host: str) -> None:
    assert Ref.parse(f"http://{host}/f.bin#sha256={HEX}").file_name == "f.bin"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://example.org/f.bin", "is not an address with a digest"),
        ("https://example.org/f.bin#md5=0", "is not an address with a digest"),
        (f"https://example.org/f.bin#sha512={HEX}", "not an address with a digest"),
        (f"https:///f.bin#sha256={HEX}", "not an address"),
        (f"https://example.org:99999/f.bin#sha256={HEX}", "is not an address with a digest"),
        (f"https://exa mple.org/f.bin#sha256={HEX}", "not an address"),
        (f"https://example.org/#sha256={HEX}", "names no file"),
        (f"https://example.org/a/..#sha256={HEX}", "names no file"),
        (f"https://example.org/a%2Fb#sha256={HEX}", "names no file"),
        (f"http://example.org/f.bin#sha256={HEX}", "not encrypted"),
        (f"http://8.8.8.8/f.bin#sha256={HEX}", "not encrypted"),
    ],
)
def test_the_error_for_an_invalid_address_contains_the_reason(address: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Ref.parse(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://me:hush@example.org/f",
        *(
            f"https://example.org/f?{name}=hush"
            for name in ("token", "X-Amz-Date", "auth", "access_token", "apiKey", "download-key", "pwd", "session")
        ),
    ],
)
def test_an_address_with_a_secret_is_rejected_without_showing_the_secret(address: str) -> None:
    with pytest.raises(UsageError, match="a password or a signature") as caught:
        Ref.parse(f"{address}#sha256={HEX}")
    assert "hush" not in caught.value.message


@given(st.sampled_from(["file:/", "https://example.org/", f"https://{'h' * 250}/"]), st.text("aé %", max_size=250))
def test_a_slug_fits_into_a_file_name(front: str, name: str) -> None:
    try:
        ref = Ref.parse(f"{front}{name}" + (f"#sha256={HEX}" if front.startswith("https") else ""))
    except UsageError:
        return
    assert len(ref.slug.encode()) <= (200 if ref.hub == "url" else 255)


@pytest.mark.parametrize(
    ("host", "hub", "issues"),
    [
        ("huggingface.co", "hf", True),
        ("hf.co", "hf", True),
        ("hf-mirror.com", "hf", False),
        ("www.modelscope.ai", "ms", True),
        ("huggingface.co.example.org", "", False),
        ("", "", False),
    ],
)
def test_a_public_mirror_answers_as_the_hub_and_gets_none_of_its_tokens(host: str, hub: str, issues: bool) -> None:
    assert hub_of_host(host) == hub
    assert issues_tokens(hub or "hf", host) is issues


@pytest.mark.parametrize(
    "text", ['acme/ti{"a":' * 900, "a/b:c/d:e/f", "x" * 5000 + "/y:z", "https://hf.co/hf://hf.co:"]
)
def test_a_hint_for_any_text_ends(text: str) -> None:
    with pytest.raises(UsageError):
        Ref.parse(text)


@given(st.from_regex(r"(hf:|ms:)?(datasets/)?[A-Za-z0-9._-]{0,8}/?[A-Za-z0-9._-]{1,8}(:|@)?[!-~]{0,6}", fullmatch=True))
def test_a_hint_is_never_an_error_of_its_own(text: str) -> None:
    for form in (f"hf://{text}", f"{text}/", f"git@hf.co:{text}.git"):
        with contextlib.suppress(UsageError):
            Ref.parse(form)
