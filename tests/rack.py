"""Rack: network namespaces as hosts on one switch, with a hub behind an uplink of a given rate; as root."""

import os
import re
import subprocess
from pathlib import Path
from typing import Self

_HEADERS = 66  # bytes of Ethernet, IP and TCP in each packet
_QUEUE_S = 0.05


class Rack:
    """`hosts` namespaces between `with` and its end, and one for the hub, whose link carries `rate` bytes/s; 0: any.

    The links of the hosts carry `link` bytes/s in each direction, 0 for any. The hub is at `hub`, the host with number
    N at `address(N)`.
    """

    hub = "10.80.0.1"

    def __init__(self, hosts: int, rate: int = 0, link: int = 0) -> None:
        self._hosts = hosts
        self._rate = rate
        self._link = link
        self._switch = f"rack{os.getpid()}-switch"
        self._ends = {0: self.hub} | {number: self.address(number) for number in range(1, hosts + 1)}

    @staticmethod
    def why_not() -> str:
        """Return why there can be none here, or an empty string."""
        if os.geteuid() or not Path("/proc/self/ns/net").exists():
            return "it needs root and network namespaces"
        name = f"rack{os.getpid()}-probe"
        try:
            _run(f"ip netns add {name}")
            try:
                _run(f"ip -n {name} link add switch type bridge")
            finally:
                _run(f"ip netns del {name}")
        except (OSError, subprocess.CalledProcessError) as error:
            return f"network namespaces cannot be made: {getattr(error, 'stderr', '') or error}"
        return ""

    @staticmethod
    def address(number: int) -> str:
        """Return the address of a host, counted from 1."""
        return f"10.80.0.{10 + number}"

    def at(self, number: int) -> tuple[str, ...]:
        """Return the words that run a command on a host; 0 is the hub's."""
        return ("nsenter", f"--net=/run/netns/{self._name(number)}", "--")

    def __enter__(self) -> Self:
        switch = self._switch
        try:
            _run(f"ip netns add {switch}")
            _run(f"ip -n {switch} link add switch type bridge")
            _run(f"ip -n {switch} link set switch up")
            for number, address in self._ends.items():
                name = self._name(number)
                _run(f"ip netns add {name}")
                _run(f"ip link add line netns {name} type veth peer name port{number} netns {switch}")
                _run(f"ip -n {switch} link set port{number} master switch up")
                _run(f"ip -n {name} link set lo up")
                _run(f"ip -n {name} link set line up")
                _run(f"ip -n {name} addr add {address}/24 dev line")
                if number and self._link:
                    _run(f"tc -n {name} qdisc add dev line root {_shape(self._link)}")
                    _run(f"tc -n {switch} qdisc add dev port{number} root {_shape(self._link)}")
            shape = _shape(self._rate) if self._rate else "pfifo limit 100000"
            _run(f"tc -n {self._name(0)} qdisc add dev line root {shape}")
        except (OSError, subprocess.CalledProcessError):
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for name in (*map(self._name, self._ends), self._switch):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def carried(self) -> int:
        """Count the bytes that the hub has sent over the uplink, without headers of Ethernet, IP and TCP."""
        said = _run(f"tc -n {self._name(0)} -s qdisc show dev line")
        found = re.search(r"Sent (\d+) bytes (\d+) pkt", said)
        assert found is not None, said
        return int(found[1]) - _HEADERS * int(found[2])

    def unplug(self, number: int) -> None:
        """Take a host off the switch: nothing that is sent to it is answered, as if it had no power."""
        _run(f"ip -n {self._switch} link set port{number} down")

    def _name(self, number: int) -> str:
        return f"rack{os.getpid()}-{number}"


def _shape(rate: int) -> str:
    burst = max(rate // 250, 64 << 10)
    return f"tbf rate {8 * rate}bit burst {burst} limit {int(rate * _QUEUE_S) + burst}"


def _run(words: str) -> str:
    return subprocess.run(words.split(), check=True, capture_output=True, text=True).stdout
