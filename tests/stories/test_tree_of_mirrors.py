"""A tree of mirrors: hosts on one switch behind an uplink; each file crosses the uplink once, and one host may die."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Running
from tests.rack import Rack

HUB, ROOT, HEAD, NODES = 0, 1, 2, (3, 4)
SIZE = 12_000_000

pytestmark = pytest.mark.skipif(bool(Rack.why_not()), reason=f"no hosts: {Rack.why_not()}")


@pytest.fixture
def rack() -> Iterator[Rack]:
    with Rack(4, rate=6_000_000) as rack:
        yield rack


@pytest.fixture
def tree(rack: Rack, tmp_path: Path) -> Iterator[Preheat]:
    """A hub behind the uplink, a mirror of it, and a mirror of that one."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(random.Random(2).randbytes(SIZE))
    preheat = Preheat(tmp_path, _url(rack, HUB))
    serve(preheat, rack, HUB, "--folder", f"acme/large={folder}")
    serve(preheat, rack, ROOT, "--upstream", f"hf={_url(rack, HUB)}")
    serve(preheat, rack, HEAD, "--in-order", *(f"--upstream=hf={_url(rack, number)}" for number in (ROOT, HUB)))
    yield preheat
    preheat.close()


def serve(preheat: Preheat, rack: Rack, number: int, *words: str) -> None:
    """Start a mirror on a host."""
    host = rack.hub if number == HUB else rack.address(number)
    library = str(preheat.folder / f"mirror-{number}")
    listen = ("--listen", f"{host}:8000", "--library", library, "--json")
    preheat.start("mirror", *listen, *words, inside=rack.at(number)).event("serving")


def stage(preheat: Preheat, rack: Rack) -> list[Running]:
    """Begin to stage the model on all nodes, each by the nearer mirror first."""
    mirrors = [word for number in (HEAD, ROOT) for word in ("--mirror", _url(rack, number))]
    return [
        preheat.start("stage", "acme/large", "--to", f"nvme-{node}", "--json", *mirrors, inside=rack.at(node))
        for node in NODES
    ]


def _url(rack: Rack, number: int) -> str:
    return f"http://{rack.hub if number == HUB else rack.address(number)}:8000"


def test_each_file_crosses_the_uplink_once(tree: Preheat, rack: Rack) -> None:
    before = rack.carried()
    for told in [one.ended() for one in stage(tree, rack)]:
        assert (told.status, told.last["fetched"]) == (0, SIZE), told.out
    assert rack.carried() - before < 1.05 * SIZE


@pytest.mark.slow
def test_a_host_that_is_unplugged_in_the_middle_costs_little(tree: Preheat, rack: Rack) -> None:
    before = rack.carried()
    running = stage(tree, rack)
    running[0].until(lambda _: rack.carried() - before > SIZE / 3)
    rack.unplug(HEAD)
    for told in [one.ended() for one in running]:
        assert (told.status, told.last["size"]) == (0, SIZE), told.out
    assert rack.carried() - before < 1.1 * SIZE
    for node in NODES:
        assert tree("verify", "--library", f"nvme-{node}").status == 0
