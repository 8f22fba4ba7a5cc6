"""The first address of a host that responds is used; one without a response costs a moment, once."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from preheat.net.happy_eyeballs import Address, Race
from preheat.net.interrupt import Interrupt, Interrupted


@contextlib.contextmanager
def listening(family: socket.AddressFamily, host: str) -> Iterator[Address]:
    """An address that accepts connections."""
    try:
        server = socket.create_server((host, 0), family=family, backlog=64)
    except OSError:
        pytest.skip(f"no {host} here")
    with server:
        yield family, server.getsockname()


@contextlib.contextmanager
def leading_nowhere(family: socket.AddressFamily, host: str) -> Iterator[Address]:
    """An address that does not respond: its queue is full, so the kernel drops new connections."""
    try:
        server = socket.create_server((host, 0), family=family, backlog=0)
    except OSError:
        pytest.skip(f"no {host} here")
    with contextlib.ExitStack() as closing:
        closing.enter_context(server)
        for _ in range(4):
            waits = closing.enter_context(socket.socket(family))
            waits.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waits.connect(server.getsockname())
        yield family, server.getsockname()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.2")])
def test_an_address_without_a_response_is_waited_for_once(family: socket.AddressFamily, host: str) -> None:
    with leading_nowhere(family, host) as dead, listening(socket.AF_INET, "127.0.0.1") as live:
        race = Race(lambda _host, _port: [dead, live], delay_s=1.0)
        for timeout_s in (30.0, 0.9, 0.9):  # less than the delay
            with race.connect("hub.test", 443, timeout_s, ()) as line:
                assert line.getpeername() == live[1]
                assert line.gettimeout() == timeout_s


def test_a_dead_address_family_is_tried_last_for_all_addresses() -> None:
    with (
        leading_nowhere(socket.AF_INET6, "::1") as dead,
        leading_nowhere(socket.AF_INET6, "::1") as other,
        listening(socket.AF_INET, "127.0.0.1") as live,
    ):
        found = [[dead, live], [other, live]]
        race = Race(lambda _host, _port: found.pop(0), delay_s=1.0)
        race.connect("hub.test", 443, 30.0, ()).close()
        race.connect("cdn.test", 443, 0.9, ()).close()


def test_an_address_that_refuses_is_skipped_at_once() -> None:
    with listening(socket.AF_INET, "127.0.0.1") as refusing:
        pass
    with listening(socket.AF_INET, "127.0.0.1") as live:
        race = Race(lambda _host, _port: [refusing, live], delay_s=30.0)
        race.connect("hub.test", 443, 20.0, ()).close()
    with pytest.raises(ConnectionRefusedError):
        race.connect("hub.test", 443, 20.0, ())


def test_without_a_response_from_any_address_it_times_out_and_can_be_interrupted() -> None:
    with leading_nowhere(socket.AF_INET, "127.0.0.2") as dead:
        race = Race(lambda _host, _port: [dead, dead], delay_s=0.01)
        with pytest.raises(TimeoutError):
            race.connect("hub.test", 443, 0.1, ())
        interrupt = Interrupt()
        interrupt.set()
        with interrupt.guarding(), pytest.raises(Interrupted):
            race.connect("hub.test", 443, None, ())
        interrupt.close()


def test_a_name_without_an_address_raises_gaierror() -> None:
    with pytest.raises(socket.gaierror):
        Race().connect("nobody.invalid", 443, 5.0, ())
