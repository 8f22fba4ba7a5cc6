"""A public hub cannot lead to addresses that only this machine or its network can reach."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import HubError
from preheat.net.address_fence import PUBLIC, Fence, kind_of
from preheat.net.happy_eyeballs import Address, Race
from preheat.net.http import NetworkSettings, Transport
from tests.authority import trusting
from tests.flaky_hub import FlakyHub, redirects_to
from tests.small_proxy import proxying


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.5", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("224.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("nonsense", "private"),
        ("93.184.215.14", "public"),
        ("2606:4700::1111", "public"),
        ("::ffff:93.184.215.14", "public"),
    ],
)
def test_the_kind_of_an_address_is_known(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@given(st.ip_addresses())
def test_only_globally_reachable_addresses_are_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if kind_of(str(ip)) == PUBLIC and ip.version == 4:
        kinds = ("private", "loopback", "link_local", "multicast", "reserved")
        assert [kind for kind in kinds if getattr(ip, f"is_{kind}")] == []


def test_a_public_hub_leads_only_to_public_addresses() -> None:
    fence = Fence("https://hub.example")
    fence.check("hub.example", 443, "93.184.215.14")
    fence.check("cdn.example", 443, "93.184.215.15")
    for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "fe80::1"):
        with pytest.raises(HubError, match="refused"):
            fence.check("cdn.example", 443, address)


def test_a_hub_in_the_local_network_leads_there_and_outside_but_not_to_this_machine() -> None:
    fence = Fence("http://mirror.lan:8000/")
    fence.check("mirror.lan", 8000, "192.168.1.5")
    fence.check("store.lan", 9000, "192.168.1.6")
    fence.check("cdn.example", 443, "93.184.215.15")
    with pytest.raises(HubError, match="loopback"):
        fence.check("localhost", 6379, "127.0.0.1")


def test_no_connection_to_a_forbidden_address_is_attempted() -> None:
    fence = Fence("https://hub.example")
    fence.check_host("hub.example", 443)
    fence.check_host("93.184.215.14", 443)
    for address in ("127.0.0.1", "[::1]", "169.254.169.254"):
        with pytest.raises(HubError, match="refused"):
            fence.check_host(address, 80)


def test_before_the_endpoint_was_reached_only_public_addresses_are_allowed() -> None:
    with pytest.raises(HubError):
        Fence("http://mirror.lan:8000").check("store.lan", 8000, "192.168.1.6")


# A sample of each non-global entry of the IANA registries, and of addresses that embed one.
INSIDE = (
    "168.63.129.16", "192.0.0.192", "192.0.0.8", "192.88.99.1", "198.19.0.1", "203.0.113.9", "240.0.0.1", "0.1.2.3",
    "fec0::1", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:7f00:1::", "5f00::1", "100::1", "100:0:0:1::1", "2001:2::1",
    "2001:1::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "4000::1", "200::1", "ff02::1", "::a9fe:a9fe", "::7f00:1",
    "::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "2002:a00:1::",
    "2002:a9fe:a9fe::", "2001:0:808:808::80ff:fffe", "2001:0:a00:1::f7f7:f7f7", "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:a9fe:a9fe",
)  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_special_networks_are_not_public(address: str) -> None:
    assert kind_of(address) != PUBLIC


@pytest.mark.parametrize("address", ["2002:808:808::1", "64:ff9b::8.8.8.8", "2600::1", "2a00:1450::1", "192.31.196.1"])
def test_other_networks_are_public(address: str) -> None:
    assert kind_of(address) == PUBLIC


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::ffff:0:{}", "64:ff9b::{}", "2606:4700::5efe:{}"]))
def test_an_embedded_address_has_its_own_kind(ip: ipaddress.IPv4Address, form: str) -> None:
    assert kind_of(form.format(ip)) == kind_of(str(ip))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1%25lo]", "127.0.0.1."])
def test_other_spellings_of_an_address_are_recognized(host: str) -> None:
    with pytest.raises(HubError, match="loopback address: refused"):
        Fence("https://hub.example").check_host(host, 80)


def places(*addresses: str) -> list[Address]:
    return [(socket.AF_INET6 if ":" in one else socket.AF_INET, (one, 80)) for one in addresses]


def test_of_a_name_with_public_and_private_addresses_only_public_ones_are_used() -> None:
    fence = Fence("https://hub.example")
    assert fence.sift("cdn.example", 443, places("10.0.0.1", "8.8.8.8", "::1")) == places("8.8.8.8")
    with pytest.raises(HubError, match="refused"):
        fence.sift("cdn.example", 443, places("10.0.0.1", "127.0.0.1"))


def test_a_hub_with_public_and_private_addresses_leads_only_to_public_ones() -> None:
    fence = Fence("http://mirror.lan:80")
    both = places("2606:4700::1", "192.168.1.5", "127.0.0.1")
    assert fence.sift("mirror.lan", 80, both) == both[:2]
    with pytest.raises(HubError, match="refused"):
        fence.sift("store.lan", 80, places("192.168.1.6"))


def test_no_connection_is_made_to_a_forbidden_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        port = inside.getsockname()[1]
        race = Race(lambda host, port: places("127.0.0.1"))
        with pytest.raises(HubError, match="refused"):
            race.connect("rebind.example", port, 1.0, (), Fence("https://hub.example").sift)
        inside.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            inside.accept()


def test_a_name_that_changes_to_a_private_address_is_rejected() -> None:
    fence = Fence("https://hub.example")
    fence.check("hub.example", 443, "93.184.215.14")
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(HubError, match="refused"):
            fence.check("hub.example", 443, address)
    fence.check("hub.example", 443, "2606:2800:21f:cb07:6820:80da:af6b:8b2c")


def test_a_proxy_is_not_asked_for_private_addresses(hub: FlakyHub) -> None:
    port = hub.url.rpartition(":")[2]
    with proxying() as proxy:
        settings = trusting(NetworkSettings({"https": proxy.url}, fence=Fence("https://hub.example")))
        for host in ("127.0.0.1", "localhost", "LOCALHOST.", "a.localhost"):
            with pytest.raises(HubError, match="loopback address: refused"):
                Transport(settings).get(f"https://{host}:{port}/acme/tiny/resolve/main/config.json", {})
        assert proxy.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(hub: FlakyHub) -> None:
    with FlakyHub({}) as inside:
        hub.fails(r"/resolve/", redirects_to(inside.url))
        port = hub.url.rpartition(":")[2]
        # The hub's name resolves to loopback; its redirects are then checked as for a public hub.
        fence = Fence(f"http://elsewhere.example:{port}")
        with pytest.raises(HubError, match="loopback address: refused"):
            Transport(trusting(NetworkSettings(fence=fence))).get(f"{hub.url}/acme/tiny/resolve/main/config.json", {})
        assert inside.asked() == []
        own = Transport(trusting(NetworkSettings(fence=Fence(hub.url))))
        assert own.get(f"{hub.url}/acme/tiny/resolve/main/config.json", {}).status == 404
        assert len(inside.asked()) == 1
