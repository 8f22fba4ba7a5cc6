"""Ports: find the process that listens on a port."""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import Callable, Iterator, NamedTuple

from preheat.guard.kernel import process_tree

_ESTABLISHED, _LISTENING = "01", "0A"  # include/net/tcp_states.h
# linux/netlink.h and linux/sock_diag.h: NLM_F_REQUEST with NLM_F_DUMP, and the kinds of messages.
_NETLINK_SOCK_DIAG, _BY_FAMILY, _DUMP_REQUEST, _ERROR, _DONE = 4, 20, 0x301, 2, 3
_HEADER, _DUMP_SIZE, _NETLINK_S = 16, 1 << 16, 1.0


class Holder(NamedTuple):
    """The process that listens on a port; `pid` is 0 if it belongs to another user or container and is not visible."""

    port: int
    pid: int
    name: str

    def __str__(self) -> str:
        who = f"{self.name} (pid {self.pid})" if self.pid else "another process"
        return f"port {self.port} is taken by {who}"


def port_taken(port: int) -> Holder | None:
    """Return the process that listens on a local TCP port, or None if the port is free."""
    sockets = set(_listeners(port))
    if not sockets and not _refused(port):
        return None
    pid = _owner(sockets)
    return Holder(port, pid, process_tree.name(pid) if pid else "")


def port_of_others(port: int, pids: set[int]) -> Holder | None:
    """Return the process that listens on a local TCP port, unless one of `pids` does; None if nobody is known to.

    The owner of a socket is unknown if it runs in another network namespace, such as a container, or if the socket was
    closed meanwhile, as by an app that ends.
    """
    sockets = set(_listeners(port))
    if not sockets or any(link in sockets for pid in pids for link in open_links(pid)):
        return None
    pid = _owner(sockets)
    if not pid and any(not _is_readable(one) for one in pids):
        return None  # one of the app's own processes runs as another user
    if not pid and sockets.isdisjoint(_listeners(port)):
        return None
    return Holder(port, pid, process_tree.name(pid) if pid else "")


def ports_of(pids: set[int]) -> set[int]:
    """Return the TCP ports on which these processes listen."""
    held = {link for pid in pids for link in open_links(pid)}
    return {port for socket, port in listening().items() if socket in held}


def remote_peers(pids: set[int]) -> set[str]:
    """Return the other ends, as `ADDRESS:PORT`, of these processes' TCP connections to other machines."""
    held = {link for pid in pids for link in open_links(pid)}
    rows = (row for row in _rows("self", _ESTABLISHED) if f"socket:[{row[9]}]" in held)
    peers = (_peer(row[2]) for row in rows)
    return {f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in peers if not _is_loopback(host)}


def _peer(text: str) -> tuple[str, int]:
    """Parse an address of proc_net_tcp: 32-bit words in the machine's byte order, then the port."""
    import socket

    words, _, port = text.partition(":")
    packed = b"".join(int(words[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(words), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed), int(port, 16)


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith(("127.", "::ffff:127."))


class AppPorts:
    """The TCP ports on which an app listens, whose processes `pids` returns.

    The processes are searched only when a socket has begun to listen, so that asking every 0.1 s costs an app little.
    """

    def __init__(self, pids: Callable[[], set[int]]) -> None:
        self._pids = pids
        self._known: set[str] = set()
        self._own: set[str] = set()

    def now(self) -> set[int]:
        """Return the ports."""
        sockets = listening()
        if not sockets.keys() <= self._known:
            held = {link for pid in self._pids() for link in open_links(pid)}
            self._known, self._own = set(sockets), held & sockets.keys()
        return {port for socket, port in sockets.items() if socket in self._own}


def _listeners(port: int) -> Iterator[str]:
    """Return the sockets that listen on a port, named as the links in /proc/PID/fd."""
    return (socket for socket, its_port in listening().items() if its_port == port)


def listeners_of(pid: int, port: int) -> list[str]:
    """List the addresses ("0.0.0.0" or "127.0.0.1") on which `port` is open in the network namespace of `pid`."""
    rows = (row for row in _rows(pid) if int(row[1].rpartition(":")[2], 16) == port)
    return ["0.0.0.0" if set(row[1].rpartition(":")[0]) == {"0"} else "127.0.0.1" for row in rows]  # noqa: S104


def listening() -> dict[str, int]:
    """Return the TCP ports of all listening sockets by the sockets, named as the links in /proc/PID/fd."""
    dumped = _dumped()
    if dumped is not None:
        return dumped
    return {f"socket:[{row[9]}]": int(row[1].rpartition(":")[2], 16) for row in _rows("self")}


class _Dump:
    """Whether the kernel lists sockets by netlink; None before the first request."""

    works: bool | None = None


def _dumped() -> dict[str, int] | None:
    """List the listening sockets by netlink (sock_diag(7)); None where the kernel does not permit it.

    That takes a fiftieth of the time of /proc/net/tcp, for which the kernel searches the table of all connections.
    """
    if _Dump.works is False:
        return None
    import socket

    found: dict[str, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as line:
            line.settimeout(_NETLINK_S)
            for family in (socket.AF_INET, socket.AF_INET6):
                # struct nlmsghdr and struct inet_diag_req_v2 of linux/inet_diag.h.
                request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, 1 << int(_LISTENING, 16))
                header = struct.pack("=IHHII", _HEADER + len(request), _BY_FAMILY, _DUMP_REQUEST, 1, 0)
                line.send(header + request)
                while _read_dump(line.recv(_DUMP_SIZE), found):
                    pass
    except (OSError, struct.error):
        _Dump.works = False
        return None
    _Dump.works = True
    return found


def _read_dump(body: bytes, found: dict[str, int]) -> bool:
    """Add the sockets of one message to `found`; return whether more messages follow. Raise OSError for an error."""
    at = 0
    while at + _HEADER <= len(body):
        size, kind = struct.unpack_from("=IH", body, at)
        if kind == _ERROR or size < _HEADER:
            raise OSError(errno.EIO, "sock_diag")
        if kind == _DONE:
            return False
        # struct inet_diag_msg: the port is in network byte order.
        [port] = struct.unpack_from(">H", body, at + _HEADER + 4)
        [inode] = struct.unpack_from("=I", body, at + _HEADER + 68)
        found[f"socket:[{inode}]"] = port
        at += size + 3 & ~3
    return True


def _rows(pid: int | str, state: str = _LISTENING) -> Iterator[list[str]]:
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as lines:
                rows = [line.split() for line in lines][1:]
        except OSError:
            continue
        yield from (row for row in rows if row[3] == state)


def _refused(port: int) -> bool:
    """Return whether bind(2) fails because the port is in use; for systems without /proc."""
    import socket

    with socket.socket() as ours:
        # Ignore connections in TIME_WAIT, which are not listeners.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            ours.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _owner(sockets: set[str]) -> int:
    for member in process_tree.members():
        if any(link in sockets for link in open_links(member.pid)):
            return member.pid
    return 0


def open_links(pid: int) -> Iterator[str]:
    """Return the targets of a process's open descriptors, such as `socket:[1]`; none if they are not readable."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return iter(())
    return (_link(f"{folder}/{name}") for name in names)


def _is_readable(pid: int) -> bool:
    try:
        os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return False
    except OSError:
        pass  # it has ended
    return True


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
