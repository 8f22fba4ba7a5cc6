"""Credentials are found by their format, anywhere in a file of any size; hashes and words are not mistaken for them."""

import base64
import io
import os
import random
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.oci.secrets.secret_names import secret_name
from preheat.oci.secrets.secret_rules import in_python, rules
from preheat.oci.secrets.secret_search import secret_in, secret_in_text
from preheat.oci.secrets.text_parts import text_parts

TOKEN = "hf_QwErTyUiOpAsDfGhJkLzXcVbNm01234567"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAA\n" * 3
STEP = 1 << 20
OWN_FORMATS = [rule for rule in rules() if not rule.in_context]


def found(body: bytes | str, *own: str) -> str:
    return secret_in(io.BytesIO(body if isinstance(body, bytes) else body.encode()), own)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "a/.env.local",
        "a/.netrc",
        ".git/config",
        ".ssh/id_ed25519",
        ".aws/credentials",
        "token",
        "huggingface/token",
        ".modelscope/credentials/session",
        "stored_tokens",
        "certs/server.p12",
        "Server.PFX",
    ],
)
def test_secret_files_are_recognized_by_name(path: str) -> None:
    assert secret_name(path)


@pytest.mark.parametrize(
    "path", ["config.json", ".gitattributes", ".gitignore", ".env.example", "tokenizer.json", "tokens/token.txt"]
)
def test_model_files_are_not_mistaken_for_secrets(path: str) -> None:
    assert not secret_name(path)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (f"token: {TOKEN}", "huggingface-token"),
        (f'{{"a": "x\\n{TOKEN}"}}', "huggingface-token"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ456789", "github-pat"),
        ("aws AKIAIOSFODNN7EXAMPLQ", "aws-access-token"),
        (f"{KEY}-----END OPENSSH PRIVATE KEY-----", "private-key"),
        ("ms-01234567-89ab-cdef-0123-456789abcdef", "modelscope-token"),
    ],
)
def test_secrets_are_recognized_by_their_format(body: str, rule: str) -> None:
    assert found(body) == secret_in_text(body.encode()) == f"a secret ({rule})"


@pytest.mark.parametrize(
    "body",
    [
        "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "HF_TOKEN=hf_...",
        "aws AKIAIOSFODNN7EXAMPLE",
        "it starts with -----BEGIN RSA PRIVATE KEY-----",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        base64.encodebytes(random.Random(1).randbytes(20_000)).decode(),
    ],
)
def test_examples_hashes_and_binary_data_are_no_secrets(body: str) -> None:
    assert found(body) == secret_in_text(body.encode()) == ""


def test_a_variable_is_judged_together_with_its_name() -> None:
    assert secret_in_text(b"DISCORD_TOKEN=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
    assert not secret_in_text(b"PYTHON_SHA256=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
    assert not secret_in_text(b"GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568")


def test_a_token_of_this_environment_is_found() -> None:
    assert found("my own-token-here", "own-token-here") == "a token from this environment"
    assert secret_in_text(b"my own-token-here", ["own-token-here"]) == "a token from this environment"


@pytest.mark.parametrize("at", [0, STEP - 20, STEP, 2 * STEP - 1, 3 * STEP - 37])
@pytest.mark.parametrize("fill", ["random", "text"])
def test_a_secret_is_found_at_any_offset_of_a_large_file(at: int, fill: str) -> None:
    body = bytearray(os.urandom(3 * STEP) if fill == "random" else b"Rome was not built in a day.\n" * (3 * STEP // 29))
    body[at : at + len(TOKEN) + 2] = f"\n{TOKEN}\n".encode()
    assert found(bytes(body)) == "a secret (huggingface-token)"


def _example(parsed: Any, chance: random.Random) -> str:
    """Return a random text that a parsed regular expression of these rules matches."""
    out = ""
    for what, said in parsed:
        match str(what):
            case "LITERAL":
                out += chr(said)
            case "IN":
                # Real tokens have padding at the end only.
                kind, value = chance.choice([one for one in said if one[1] != ord("=")])
                if str(kind) == "RANGE":
                    out += chr(chance.randint(*value))
                else:
                    out += chr(value) if str(kind) == "LITERAL" else chance.choice("0123456789")
            case "MAX_REPEAT" | "MIN_REPEAT":
                low, high, inner = said
                out += "".join(_example(inner, chance) for _ in range(chance.randint(low, min(high, low + 9))))
            case "SUBPATTERN":
                out += _example(said[3], chance)
            case "BRANCH":
                out += _example(chance.choice([branch for branch in said[1] if branch]), chance)
            case "ANY":
                out += "."
    return out


@pytest.mark.parametrize("seed", range(3))
def test_the_keyword_search_misses_no_match_of_a_rule(seed: int) -> None:
    chance, examples = random.Random(seed), 0
    for rule in OWN_FORMATS:
        parsed = re._parser.parse(in_python(rule.regex))  # type: ignore[attr-defined] # private, and the only parser
        body = f"a b\n{_example(parsed, chance)}\n".encode("latin-1")
        if rule.found_in(body) and max(map(len, re.findall(rb"[\w+/.~-]+", body))) >= 20:
            examples += 1
            assert found(body), rule.id
    assert examples > 90


def test_every_rule_is_converted() -> None:
    assert len(OWN_FORMATS) > 100
    for rule in rules():
        rule.found_in(b"x" * 100)
    assert in_python(r"a(?:b(?i)c|d)e\z") == r"a(?:b(?i:c)|(?i:d))e\Z"
    assert in_python(r"\b(x(?i)[a-z)(?i)|]+)(?:[[:alnum:]]|$)") == r"\b(x(?i:[a-z)(?i)|]+))(?:[A-Za-z0-9]|$)"


def test_a_long_text_is_searched_as_a_file() -> None:
    assert secret_in_text(b"x \n" * 20_000 + TOKEN.encode()) == "a secret (huggingface-token)"


@given(st.binary(max_size=300))
def test_any_bytes_can_be_searched(body: bytes) -> None:
    found(body)
    secret_in_text(body)


# ---- weights


def _parts(path: Path) -> str:
    with open(path, "rb") as file:
        return next(filter(None, map(secret_in, text_parts(file))), "")


def _torch(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in {"data.pkl": b"x", "data/0": os.urandom(2 * STEP), **members}.items():
            archive.writestr(f"archive/{name}", body)
    return path


def test_tensors_are_not_searched_and_everything_else_is(tmp_path: Path) -> None:
    token = f"\n{TOKEN}\n".encode()
    assert _parts(_torch(tmp_path / "a.pt", **{"data/1": token + bytes(STEP)})) == ""
    assert _parts(_torch(tmp_path / "b.pt", **{"notes.txt": token}))
    assert _parts(_torch(tmp_path / "c.pt", **{"data.pkl": token}))
    header = b'{"__metadata__": {"by": "%s"}}' % TOKEN.encode()
    safe = tmp_path / "x.bin"
    safe.write_bytes(struct.pack("<Q", len(header)) + header + bytes(STEP))
    assert _parts(safe)
    safe.write_bytes(struct.pack("<Q", 2) + b"{}" + bytes(STEP) + token)
    assert _parts(safe) == ""
    # By content only: names prove nothing.
    other = tmp_path / "y.safetensors"
    other.write_bytes(bytes(2 * STEP) + token)
    assert _parts(other)
