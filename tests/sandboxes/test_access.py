"""An address is what it leads to, however it is spelled; only public hosts are outside."""

from __future__ import annotations

import ipaddress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.access import HostRule, carried, not_outside, own_addresses, read_address

INSIDE = {
    "this machine": ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::"],
    "a metadata service of a cloud": [
        "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254", "fd20:ce::254",
    ],
    "a link-local address": ["169.254.1.1", "fe80::1", "fe80::1%lo"],
    "a private network": ["10.0.0.1", "172.31.255.255", "192.168.1.1", "fd12::1", "fec0::1"],
    "a shared address": ["100.64.0.1", "100.127.255.255"],
    "a multicast address": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "an address for documents and tests": [
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    ],
    "a reserved address": [
        "240.0.0.1", "255.255.255.255",
        "2001:db8::1", "3fff::1", "5f00::1", "100::1", "64:ff9b:1::8.8.8.8",
    ],
}  # fmt: skip
OUTSIDE = [
    "8.8.8.8",
    "151.101.0.223",
    "172.32.0.1",
    "100.128.0.1",
    "2a04:4e42::223",
    "2606:4700::1",
]
SPELLINGS = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "nat64": lambda v4: f"64:ff9b::{v4}",
    "translated": lambda v4: f"::ffff:0:{v4}",
    "compatible": lambda v4: f"::{v4}",
    "6to4": lambda v4: str(ipaddress.IPv6Address((0x2002 << 112) | (int(v4) << 80) | 1)),
    "teredo server": lambda v4: str(
        ipaddress.IPv6Address((0x2001_0000 << 96) | (int(v4) << 64) | 0xFFFF_FFFF)
    ),
    "teredo client": lambda v4: str(
        ipaddress.IPv6Address((0x2001_0000 << 96) | (0x0808_0808 << 64) | (int(v4) ^ 0xFFFF_FFFF))
    ),
    "isatap": lambda v4: f"2a04:4e42::5efe:{v4}",
}
INSIDE_V4 = [text for texts in INSIDE.values() for text in texts if ":" not in text]


def why(text: str) -> str:
    address = read_address(text)
    assert address is not None
    return not_outside(address)


@pytest.mark.parametrize(
    ("text", "kind"), [(text, kind) for kind, texts in INSIDE.items() for text in texts]
)
def test_what_is_not_outside_is_named(text: str, kind: str) -> None:
    assert why(text) == kind


@pytest.mark.parametrize("text", OUTSIDE)
def test_public_hosts_are_outside(text: str) -> None:
    assert why(text) == ""


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(text=st.sampled_from(INSIDE_V4))
def test_no_spelling_leads_inside(spelling: str, text: str) -> None:
    assert why(SPELLINGS[spelling](ipaddress.IPv4Address(text)))


@pytest.mark.parametrize("spelling", ["mapped", "nat64"])
def test_translated_public_hosts_are_outside(spelling: str) -> None:
    assert why(SPELLINGS[spelling](ipaddress.IPv4Address("8.8.8.8"))) == ""


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_python_knows_no_address_as_inside_that_is_outside_here(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if carried(address) == () and not_outside(address) == "":
        assert address.is_global and not address.is_multicast and not address.is_reserved


def test_addresses_of_this_machines_interfaces_are_its_own() -> None:
    own = own_addresses()
    assert read_address("127.0.0.1") in own
    public = ipaddress.IPv4Address("8.8.8.8")
    assert not_outside(public, {public}) == "this machine"
    assert not_outside(ipaddress.IPv6Address("64:ff9b::808:808"), {public}) == "this machine"


def test_each_address_of_each_interface_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["52:54:00:12:34:56", "8.8.8.8", "2a00::7", "fe80::1%eth0"],
        "none": [],
        "docker0": ["::ffff:172.17.0.1"],
    }
    monkeypatch.setattr(
        "psutil.net_if_addrs",
        lambda: {
            name: [SimpleNamespace(address=one) for one in texts] for name, texts in found.items()
        },
    )
    wanted = {"127.0.0.1", "::1", "8.8.8.8", "2a00::7", "fe80::1", "172.17.0.1"}
    assert {str(one) for one in own_addresses()} == wanted


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        # Tunnels lead to the address inside, and to their own network too.
        ("2001:0:808:808::f7f7:f7f7", "a reserved address"), ("::8.8.8.8", "a reserved address"),
        ("fe80::5efe:808:808", "a link-local address"), ("fd00::5efe:808:808", "a private network"),
        ("2002:808:808::1", ""), ("2a00::5efe:808:808", ""),
        ("2001:0:7f00:1::f7f7:f7f7", "this machine"), ("2001:0:808:808::80ff:fffe", "this machine"),
        ("fe80::5efe:7f00:1", "this machine"),
        # Translators lead to the address inside alone.
        ("::ffff:0:808:808", ""), ("64:ff9b::808:808", ""), ("64:ff9b::7f00:1", "this machine"),
    ],
)  # fmt: skip
def test_what_carries_a_public_address_may_lie_inside(text: str, kind: str) -> None:
    assert not_outside(ipaddress.IPv6Address(text)) == kind


def test_rules_that_name_addresses() -> None:
    assert HostRule.parse("[0:0:0:0:0:0:0:1]:80").allows("::1", 80)
    assert HostRule.parse("*.0.0.1").allows("127.0.0.1", 80) is False
    assert HostRule.parse("[::ffff:a00:1]").address == ipaddress.IPv4Address("10.0.0.1")
    with pytest.raises(ValueError, match="not an IPv6 address"):
        HostRule.parse("[:::]")
