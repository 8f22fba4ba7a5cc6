"""Every parser of untrusted data, on damaged data: an error of ours, in bounded time."""

import contextlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.readers import READERS

# Usual problems of parsers: depth, digits, other alphabets, surrogates, length.
STRANGE = (
    b"[" * 100_000, b"{a=" * 50_000, b'{"a":' * 50_000, b"9" * 5000, b"1e999", b"\xb2", "٣".encode(), b"\xff", b"\x9c",
    b"\\ud800", b"\0", b"\x1b[2J", b"<" * 60_000, b"a" * 60_000, b'="' + b"\\" * 30_000, b"http://[bad/", b":99999/",
    b"NaN", b"-", b"", b" " * 60_000,
)  # fmt: skip


def read(name: str, body: bytes) -> None:
    reader = READERS[name]
    with contextlib.suppress(*reader.errors):
        reader.read(body)


def strange(chance: random.Random, seed: bytes) -> bytes:
    """Change a valid input in a few places."""
    body = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(4):
            case 0:
                body[at:at] = chance.choice(STRANGE)
            case 1:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                del body[at : at + chance.randint(1, 8)]
            case _:
                body = body[:at]
    return bytes(body)


def corpus(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Return the same inputs for the same seed, evenly distributed over the parsers."""
    chance = random.Random(seed)
    names = list(READERS)
    for number in range(count):
        name = names[number % len(names)]
        yield name, strange(chance, READERS[name].honest)


@pytest.mark.parametrize("name", READERS)
def test_valid_inputs_are_parsed(name: str) -> None:
    READERS[name].read(READERS[name].honest)


@pytest.mark.parametrize("name", READERS)
def test_each_unusual_value_alone_and_in_the_middle(name: str) -> None:
    seed = READERS[name].honest
    for one in STRANGE:
        read(name, one)
        read(name, seed[: len(seed) // 2] + one + seed[len(seed) // 2 :])


@given(st.sampled_from(list(READERS)), st.binary(max_size=200))
def test_any_bytes(name: str, body: bytes) -> None:
    read(name, body)


def test_a_small_corpus() -> None:
    for name, body in corpus(1, 1900):
        read(name, body)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_corpus_of_100_000() -> None:
    for name, body in corpus(2, 100_000):
        read(name, body)
