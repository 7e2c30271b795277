"""What sandboxes may reach outside: nothing, the hosts of an allow-list, or everything."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

REGISTRIES = (
    "pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "deb.debian.org",
    "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "index.crates.io",
    "static.crates.io", "proxy.golang.org", "sum.golang.org", "rubygems.org",
    "repo.maven.apache.org", "repo1.maven.org",
)  # fmt: skip
"""Hosts of the public package registries."""
INSTALLERS = (
    "astral.sh", "releases.astral.sh", "bootstrap.pypa.io", "nodejs.org", "deb.nodesource.com",
    "rpm.nodesource.com", "sh.rustup.rs", "static.rust-lang.org", "bun.sh", "github.com",
    "api.github.com", "codeload.github.com", "raw.githubusercontent.com",
    "objects.githubusercontent.com", "release-assets.githubusercontent.com",
)  # fmt: skip
"""Hosts from which test scripts install tools: uv, pip, Node, Rust, and releases on GitHub."""
PRESETS = {"registries": REGISTRIES, "installers": INSTALLERS}

_RULE = re.compile(r"^(?P<name>(\*\.)?[a-z0-9._-]+|\[[0-9a-f:]+\])(:(?P<port>\d{1,5}))?$")
WEB_PORTS = (80, 443)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

THIS_MACHINE, PRIVATE, SHARED = "this machine", "a private network", "a shared address"
STAND_IN = "an address for documents and tests"
"""No host has such an address; transparent proxies give them out in place of real ones."""

_KINDS = {
    "a metadata service of a cloud": (
        "169.254.169.254", "169.254.170.2", "169.254.42.42", "169.254.0.23", "100.100.100.200",
        "168.63.129.16", "192.0.0.192", "fd00:ec2::/32", "fd20:ce::254", "fd00:42::42",
    ),
    THIS_MACHINE: ("0.0.0.0/8", "127.0.0.0/8", "::/127"),
    "a link-local address": ("169.254.0.0/16", "fe80::/10"),
    PRIVATE: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    SHARED: ("100.64.0.0/10",),
    "a multicast address": ("224.0.0.0/4", "ff00::/8"),
    STAND_IN: ("192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    "a reserved address": (
        "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20",
        "::/3", "4000::/2", "8000::/1",
    ),
}  # fmt: skip
"""What lies elsewhere than outside, the first that fits; after the registries of special-purpose
addresses of IANA, because what Python knows of them differs between its versions. Of IPv6, only
2000::/3 is outside."""
_NETWORKS = tuple(
    (ipaddress.ip_network(text), kind) for kind, networks in _KINDS.items() for text in networks
)
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_PASSED_ON = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::ffff:0:0:0/96")))
"""Other spellings of IPv4 addresses: mapped, and translated by RFC 6052 and RFC 7915."""
_ISATAP = (0x5EFE, 0x0200_5EFE)


def read_address(text: str) -> Address | None:
    """The address that a text spells, as IPv4 if it is one in an IPv6 spelling; None for a name."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def literal(host: str) -> str:
    """A host as a list names it: addresses in their usual spelling, names as they are."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def carried(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that packets to an IPv6 address may be passed on to, by translators and
    tunnels (6to4, Teredo, ISATAP, IPv4-compatible addresses)."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if any(address in network for network in _PASSED_ON):
        return (last,)
    if address in _COMPATIBLE and int(address) > 1:
        return (last,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    return (last,) if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP else ()


def not_outside(address: Address, own: Iterable[Address] = ()) -> str:
    """What an address leads to instead of a public host outside; empty if it leads to one.

    Args:
        address: in any spelling.
        own: the addresses of this machine's interfaces.
    """
    inner = carried(address)
    only_inner = any(address in network for network in _PASSED_ON)
    for one in inner if only_inner else (*inner, address):
        if one in own:
            return THIS_MACHINE
        for network, kind in _NETWORKS:
            if one in network:
                return kind
    return ""


def own_addresses() -> frozenset[Address]:
    """The addresses of all interfaces of this machine, an engine's bridges among them."""
    import psutil

    texts = (entry.address for found in psutil.net_if_addrs().values() for entry in found)
    return frozenset(address for text in texts if (address := read_address(text)) is not None)


@dataclass(frozen=True)
class HostRule:
    """One entry of an allow-list: ``host``, ``*.domain`` or an address, with or without a port.
    Without one it allows the ports of HTTP and HTTPS."""

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> HostRule:
        """Read an entry; raises ValueError if it is not one."""
        found = _RULE.match(text.lower())
        port = int(found["port"]) if found and found["port"] else None
        if found is None or (port is not None and not 0 < port < 65536):
            raise ValueError(f"{text!r} is not a host, like pypi.org, *.example.org or host:8080")
        name = found["name"].strip("[]")
        address = read_address(name)
        if address is None and ":" in name:
            raise ValueError(f"{text!r} is not an IPv6 address in brackets")
        return cls(name if address is None else str(address), port)

    @cached_property
    def address(self) -> Address | None:
        """The address that the rule names; None if it names a host or a domain."""
        return read_address(self.name)

    def allows(self, host: str, port: int) -> bool:
        """Whether the rule allows a host, which is a name or an address, on a port."""
        if port != self.port and (self.port is not None or port not in WEB_PORTS):
            return False
        if self.name.startswith("*."):
            return read_address(host) is None and host.endswith(self.name[1:])
        return host == self.name


@dataclass(frozen=True)
class Visit:
    """One attempt of a sandbox to reach something outside."""

    host: str
    port: int
    refused: str = ""
    """Why it was refused; empty if it was allowed."""
    failed: str = ""
    """Why no connection could be made, although it was allowed; empty if there was one."""


@dataclass(frozen=True)
class Access:
    """What sandboxes may reach besides the gateway; by default nothing.

    Args:
        rules: the hosts that a filtering proxy lets through.
        everything: whether they have the network of whatever runs them, without a filter.
        recorded: whether the proxy is there even if it lets nothing through, to record what was
            wanted.
    """

    rules: tuple[HostRule, ...] = ()
    everything: bool = False
    recorded: bool = False

    @property
    def proxied(self) -> bool:
        """Whether the way outside is a filtering proxy."""
        return bool(self.rules) or (self.recorded and not self.everything)

    @property
    def nothing(self) -> bool:
        return not self.rules and not self.everything
