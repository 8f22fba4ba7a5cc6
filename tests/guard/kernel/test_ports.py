"""Ports: an app's listening ports are known, and its processes are searched no more often than they must be."""

import os
import socket
from collections.abc import Iterator

import pytest

from preheat.guard.kernel import ports
from preheat.guard.kernel.ports import AppPorts, port_of_others
from preheat.guard.kernel.process_tree import name


class _LastLook(set[int]):
    """An app's processes; the app closes its port as soon as they are looked at."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__({1 << 30})  # it has ended
        self._server = server

    def __iter__(self) -> Iterator[int]:
        self._server.close()
        return super().__iter__()


def test_a_port_that_is_closed_while_its_holder_is_searched_is_not_taken_by_others() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    assert port_of_others(server.getsockname()[1], _LastLook(server)) is None


def test_processes_are_searched_only_when_a_socket_begins_to_listen() -> None:
    searches = []

    def pids() -> set[int]:
        searches.append(1)
        return {os.getpid()}

    app_ports = AppPorts(pids)
    app_ports.now()
    before = len(searches)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert all(port in app_ports.now() for _ in range(10))
        # Other programs of this machine may have begun to listen as well.
        assert before < len(searches) <= before + 5
    assert port not in app_ports.now()


def test_listening_sockets_are_the_same_by_netlink_and_from_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        assert ports.listening()[f"socket:[{inode}]"] == port
        monkeypatch.setattr(ports._Dump, "works", False)
        assert ports.listening()[f"socket:[{inode}]"] == port
        with server.dup() as other:
            assert ports.port_taken(other.getsockname()[1]) == ports.Holder(port, os.getpid(), name(os.getpid()))
