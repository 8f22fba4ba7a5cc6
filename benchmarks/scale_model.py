"""Scale model: how long it takes until N nodes have a model, and how many bytes cross the uplink; pure.

Bytes flow while they arrive, so the slowest stage of a way decides: the uplink, the link of the server that sends most,
or the node's own verification and disk. All nodes begin at once. A registry and an object store have the model before
the nodes begin; the uplink carried it there once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Site:
    """Where the nodes are. Rates in bytes/s.

    `uplink`: from the hub. `link`: of each host, in each direction. `node`, `store`, `unpack`: what one node receives,
    verifies and writes, from a mirror or registry, from an object store, and as an image by containerd. `begin_s`: from
    a node's start to its first byte, and from the last to the end. `hop_s`: what each mirror on the way adds.
    `fan_out`: nodes and mirrors that one mirror of a tree serves.
    """

    size: float
    uplink: float
    link: float
    node: float
    store: float
    unpack: float
    begin_s: float
    hop_s: float
    fan_out: int = 10


@dataclass(frozen=True, slots=True)
class Warmed:
    """When the last node has the model, and the bytes that crossed the uplink."""

    seconds: float
    upstream: float


def hub(site: Site, nodes: int) -> Warmed:
    """Each node downloads from the hub."""
    rate = min(site.node, site.link, site.uplink / nodes)
    return Warmed(site.begin_s + site.size / rate, site.size * nodes)


def mirror(site: Site, nodes: int) -> Warmed:
    """One mirror serves all."""
    rate = min(site.node, site.uplink, site.link / nodes)
    return Warmed(site.begin_s + site.hop_s + site.size / rate, site.size)


def tree(site: Site, nodes: int) -> Warmed:
    """Mirrors of mirrors, each of which serves `fan_out` hosts."""
    levels = depth(nodes, site.fan_out)
    rate = min(site.node, site.uplink, site.link / busiest(nodes, site.fan_out))
    return Warmed(site.begin_s + levels * site.hop_s + site.size / rate, site.size)


def registry(site: Site, nodes: int) -> Warmed:
    """`pull --from` an image in one registry."""
    return Warmed(site.begin_s + site.size / min(site.node, site.link / nodes), site.size)


def containerd(site: Site, nodes: int) -> Warmed:
    """containerd pulls and unpacks the image from one registry."""
    return Warmed(site.begin_s + site.size / min(site.unpack, site.link / nodes), site.size)


def object_store(site: Site, nodes: int) -> Warmed:
    """`pull --from` an object store that has as many servers as its readers need."""
    del nodes
    return Warmed(site.begin_s + site.size / min(site.store, site.link), site.size)


def dragonfly(site: Site, nodes: int) -> Warmed:
    """A bound for peers that send each piece on as soon as they have it: nothing but the links limits them."""
    pieces = math.ceil(math.log2(nodes + 1)) * (4 << 20) / site.link
    return Warmed(site.begin_s + pieces + site.size / min(site.node, site.uplink, site.link), site.size)


WAYS: Mapping[str, Callable[[Site, int], Warmed]] = {
    "hub": hub,
    "one mirror": mirror,
    "tree of mirrors": tree,
    "one registry": registry,
    "registry, containerd": containerd,
    "object store": object_store,
    "Dragonfly (bound)": dragonfly,
}


def depth(nodes: int, fan_out: int) -> int:
    """Return the levels of mirrors above the nodes: 1 for one mirror.

    >>> [depth(nodes, 4) for nodes in (1, 4, 5, 16, 17)]
    [1, 1, 2, 2, 3]
    """
    levels, reached = 1, fan_out
    while reached < nodes:
        levels, reached = levels + 1, reached * fan_out
    return levels


def busiest(nodes: int, fan_out: int) -> int:
    """Return how many hosts the busiest mirror serves, if each level is as even as it can be.

    >>> [busiest(nodes, 4) for nodes in (1, 4, 5, 8, 16)]
    [1, 4, 3, 4, 4]
    """
    most, below = 1, nodes
    for _ in range(depth(nodes, fan_out)):
        above = math.ceil(below / fan_out)
        most, below = max(most, math.ceil(below / above)), above
    return most
