"""Line: two network namespaces, and between them a round trip, and if asked for a bottleneck with a buffer, and losses.

What the client sends goes through a pair of TUN devices, where each packet waits; what the hub sends goes straight
through a veth pair. TCP sees the round trip as a whole, with its slow start, and the packets that pass through Python
are requests and acknowledgements alone, so the line itself carries as much as loopback does. The bottleneck is the
kernel's token bucket at the hub's end of the pair; packets are lost by chance at the client's end, after it.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_HUB, _CLIENT = "10.79.0.1", "10.79.0.2"
_MTU = 1500
_HEADERS = 66  # bytes of Ethernet, IP and TCP in each packet


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """`rate` bytes/s for all connections, with a queue of `buffer_s` seconds; a share `loss` of packets is lost."""

    rate: int = 0
    buffer_s: float = 0.0
    loss: float = 0.0


class NoLine(Exception):
    """Namespaces or TUN devices cannot be had here."""


class Line:
    """A round trip of `round_trip_s`, inside a `with`; the hub listens at `address`."""

    address = _HUB

    def __init__(self, round_trip_s: float, narrow: Bottleneck | None = None) -> None:
        if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
            raise NoLine("needs root and /dev/net/tun")
        self._round_trip_s = round_trip_s
        self._narrow = narrow
        self._hub, self._client = f"bench-hub-{os.getpid()}", f"bench-cli-{os.getpid()}"
        self._delayer = 0

    @property
    def prefix(self) -> list[str]:
        """What puts a command at the client's end."""
        return ["nsenter", f"--net=/run/netns/{self._client}", "--"]

    @contextlib.contextmanager
    def hub_end(self) -> Iterator[None]:
        """Make the sockets of this block at the hub's end."""
        with _inside(self._hub):
            yield

    def __enter__(self) -> "Line":
        hub, client = self._hub, self._client
        try:
            for space in (hub, client):
                _ip(f"netns add {space}")
                _ip(f"-n {space} link set lo up")
                # Else the kernel drops packets that arrive and are answered over different interfaces.
                loose = [f"net.ipv4.conf.{which}.rp_filter=0" for which in ("all", "default")]
                subprocess.run(["ip", "netns", "exec", space, "sysctl", "-qw", *loose], check=True)
            _ip(f"link add veth0 netns {hub} type veth peer name veth0 netns {client}")
            for space, own in ((hub, _HUB), (client, _CLIENT)):
                _ip(f"-n {space} link set veth0 mtu {_MTU} up")
                _ip(f"-n {space} addr add {own}/32 dev veth0")
            near, far = _tun(client), _tun(hub)
            _ip(f"-n {client} route add {_HUB}/32 dev slow0 src {_CLIENT}")
            _ip(f"-n {hub} route add {_CLIENT}/32 dev veth0 src {_HUB}")
            if self._narrow is not None:
                self._restrict(self._narrow)
            self._delayer = os.fork()
            if self._delayer == 0:
                try:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    _delay(near, far, self._round_trip_s)
                finally:
                    os._exit(0)
            os.close(near)
            os.close(far)
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise NoLine(str(error)) from error
        return self

    def carried(self) -> int:
        """Count the bytes that passed the bottleneck, without headers of Ethernet, IP and TCP; 0 without one."""
        if self._narrow is None:
            return 0
        said = _run(f"tc -n {self._hub} -s qdisc show dev veth0")
        size, packets = re.search(r"Sent (\d+) bytes (\d+) pkt", said).groups()  # type: ignore[union-attr]
        return int(size) - _HEADERS * int(packets)

    def _restrict(self, narrow: Bottleneck) -> None:
        """Set up the bottleneck, and CUBIC, which fills buffers as most servers do; the default differs by machine."""
        _ip(f"-n {self._hub} route change {_CLIENT}/32 dev veth0 src {_HUB} congctl cubic")
        if narrow.rate:
            burst = max(narrow.rate // 250, 16 << 10)
            queue = f"tbf rate {8 * narrow.rate}bit burst {burst} limit {int(narrow.rate * narrow.buffer_s) + burst}"
            _run(f"tc -n {self._hub} qdisc add dev veth0 root {queue}")
        else:
            _run(f"tc -n {self._hub} qdisc add dev veth0 root pfifo limit 100000")
        if narrow.loss:
            # One packet at a time: with segmentation offload, one loss would be that of many packets.
            _ip(f"-n {self._hub} link set dev veth0 gso_max_segs 1")
            chance = f"-m statistic --mode random --probability {narrow.loss}"
            _run(f"ip netns exec {self._client} iptables -A INPUT -i veth0 {chance} -j DROP")

    def __exit__(self, *exception: object) -> None:
        if self._delayer:
            os.kill(self._delayer, signal.SIGTERM)
            os.waitpid(self._delayer, 0)
        for space in (self._hub, self._client):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


@contextlib.contextmanager
def _inside(space: str) -> Iterator[None]:
    """Put this thread into a namespace; Python has no setns before 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{space}", "rb") as there:
        if libc.setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"cannot enter {space}")
        try:
            yield
        finally:
            libc.setns(home.fileno(), 0)


def _tun(space: str) -> int:
    with _inside(space):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"slow0", _IFF_TUN | _IFF_NO_PI))
    _ip(f"-n {space} link set slow0 mtu {_MTU} txqueuelen 10000 up")
    return device


def _ip(words: str) -> None:
    _run(f"ip {words}")


def _run(words: str) -> str:
    return subprocess.run(words.split(), check=True, capture_output=True, text=True).stdout


def _delay(near: int, far: int, seconds: float) -> None:
    """Hand on what the client sends after `seconds`; the hub has nothing to send this way."""
    waiting: deque[tuple[float, bytes]] = deque()
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            with contextlib.suppress(OSError):  # a full queue drops packets, as lines do
                os.write(far, waiting.popleft()[1])
        # select, for its timeout has microseconds; poll's has milliseconds
        select.select([near], [], [], max(0.0, waiting[0][0] - now) if waiting else None)
        due = time.monotonic() + seconds
        with contextlib.suppress(BlockingIOError):
            for _ in range(256):
                waiting.append((due, os.read(near, 65536)))
