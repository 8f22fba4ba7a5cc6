"""Ports: an app's listening ports are known, and its processes are searched no more often than they must be."""

import os
import socket

from preheat.guard.kernel.ports import AppPorts


def test_processes_are_searched_only_when_a_socket_begins_to_listen() -> None:
    searches = []

    def pids() -> set[int]:
        searches.append(1)
        return {os.getpid()}

    ports = AppPorts(pids)
    ports.now()
    before = len(searches)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert all(port in ports.now() for _ in range(10))
        # Other programs of this machine may have begun to listen as well.
        assert before < len(searches) <= before + 5
    assert port not in ports.now()
