"""Network namespace: a loopback-only network for the app, and a relay for the port that it serves.

A process in a new network namespace and its children can reach only each other (network_namespaces(7)). Root can create
one directly; other users need a user namespace, where the system permits it (user_namespaces(7)). A socket belongs to
the namespace in which it was created. So a small "door" process runs inside: it connects to the app's port there, and
passes the connected socket to the guard outside (SCM_RIGHTS, unix(7)).
"""

from __future__ import annotations

import array
import errno
import os
import signal
import socket
import struct
import threading
from contextlib import suppress
from typing import Iterable

from preheat.guard.kernel import namespaces
from preheat.guard.kernel.ports import listeners_of
from preheat.guard.kernel.quiet_fork import fork
from preheat.guard.net.port_relay import Front
from preheat.guard.net.small_http import HttpReply, listen

# linux/sockios.h, net/if.h
_SIOCSIFFLAGS = 0x8914
_UP = 0x1 | 0x40  # IFF_UP, IFF_RUNNING
_LOOK_EVERY_S = 0.05
_CONNECT_S = 5.0
_DESCRIPTOR = array.array("i").itemsize


def why_not() -> str:
    """Return why this process cannot create a network namespace, or "" if it can; a child process tries it."""
    if not hasattr(os, "fork") or not os.path.exists("/proc/self/ns/net"):
        return "network isolation requires Linux network namespaces"
    ours, its = os.pipe()
    child = fork()
    if child == 0:
        number = 0
        try:
            enter()
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            os.write(its, b"%d" % number)
            os._exit(0)
    os.close(its)
    reply = os.read(ours, 16)
    os.close(ours)
    os.waitpid(child, 0)
    number = int(reply or b"5")
    return "" if not number else f"creating a network namespace is not permitted: {os.strerror(number)}"


def enter() -> None:
    """Move this process, and the children it will start, to a new network that has only loopback. Raise OSError."""
    try:
        namespaces.unshare(namespaces.NETWORK)
    except OSError:
        namespaces.own_user(namespaces.NETWORK)
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _UP))
    if os.geteuid() == 0:
        # The app gives up its privileges, but may serve on port 80 as before.
        with suppress(OSError), open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "wb", buffering=0) as first:
            first.write(b"0")


def keep_door(door: socket.socket, reaches: Iterable[int] = ()) -> int:
    """Fork the door process, which opens connections inside the namespace, and return its PID.

    It sends the sockets through `door`; first, in order, a socket that listens there on loopback for each of the ports
    `reaches`. It ends when the other end of `door` is closed.
    """
    for port in reaches:
        # Before the fork: the app may connect at once.
        with listen("127.0.0.1", port) as listener:
            _send(door, listener)
    forked = os.fork()
    if forked != 0:
        door.close()
        return forked
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        kept = door.fileno()
        for name in os.listdir("/proc/self/fd"):
            if int(name) not in (0, 1, 2, kept):
                with suppress(OSError):
                    os.close(int(name))
        for number in (0, 1, 2):
            # Do not hold the app's output pipes open after the app has ended.
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        while True:
            asked = door.recv(16)
            if not asked:
                break
            try:
                with socket.create_connection(("127.0.0.1", int(asked)), _CONNECT_S) as made:
                    made.settimeout(None)
                    _send(door, made)
            except OSError as error:
                door.send(b"%d" % (error.errno or errno.EIO))
    finally:
        os._exit(0)


def _send(door: socket.socket, one: socket.socket) -> None:
    rights = array.array("i", [one.fileno()])
    door.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


class NamespacePort:
    """The guard's end of the socket to the door process. Thread-safe."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._turn = threading.Lock()

    def connect(self, port: int) -> socket.socket:
        """Return a socket that is connected to a port inside the namespace. Raise OSError."""
        with self._turn:
            self._end.send(b"%d" % port)
            return self._receive()

    def listener(self) -> socket.socket:
        """Return the next of the listening sockets that the door sends first. Raise OSError."""
        with self._turn:
            return self._receive()

    def _receive(self) -> socket.socket:
        reply, ancillary, _, _ = self._end.recvmsg(16, socket.CMSG_LEN(_DESCRIPTOR))
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                return socket.socket(fileno=struct.unpack("i", rights[:_DESCRIPTOR])[0])
        number = int(reply) if reply.isdigit() else errno.EPIPE
        raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Close the socket, so that the door process ends."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class Inlet:
    """Relay connections inside the namespace to the same ports on the host's loopback, until `close`."""

    def __init__(self, door: NamespacePort, ports: Iterable[int]) -> None:
        self._fronts = [Front("127.0.0.1", port, _gone, listener=door.listener(), target=port) for port in ports]

    def close(self) -> None:
        """Close the listening sockets and all connections."""
        for front in self._fronts:
            front.close()


class Publisher:
    """Publish one port of an isolated app on the host, as soon as the app listens on it and the host's port is free."""

    def __init__(self, door: NamespacePort, pid: int, port: int) -> None:
        self._closing = threading.Event()
        self._door = door
        self._pid = pid
        self._port = port
        self._thread = threading.Thread(target=self._publish, name="publisher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop publishing, and end the door process."""
        self._closing.set()
        self._thread.join()
        self._door.close()

    def _publish(self) -> None:
        hosts: list[str] = []
        while not hosts:
            if self._closing.wait(_LOOK_EVERY_S):
                return
            hosts = listeners_of(self._pid, self._port)
        # Listen on all interfaces only if the app does.
        everywhere = any(host in ("0.0.0.0", "::") for host in hosts)  # noqa: S104 - compared with
        address = "0.0.0.0" if everywhere else "127.0.0.1"  # noqa: S104
        while True:
            try:
                front = Front(address, self._port, _gone, self._door.connect, target=self._port)
                break
            except OSError:  # another program took the port while the app was loading
                if self._closing.wait(_LOOK_EVERY_S):
                    return
        self._closing.wait()
        front.close()


def _gone(method: str, path: str) -> HttpReply:  # noqa: ARG001 - the signature that Front requires
    return HttpReply(503, "text/plain; charset=utf-8", b"the app does not respond\n")
