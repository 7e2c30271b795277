"""What sandboxes may reach outside: nothing, the hosts of an allow-list, or everything."""

from __future__ import annotations

import re
from dataclasses import dataclass

REGISTRIES = (
    "pypi.org", "files.pythonhosted.org", "registry.npmjs.org", "deb.debian.org",
    "security.debian.org", "archive.ubuntu.com", "security.ubuntu.com", "index.crates.io",
    "static.crates.io", "proxy.golang.org", "sum.golang.org", "rubygems.org",
    "repo.maven.apache.org", "repo1.maven.org",
)  # fmt: skip
"""Hosts of the public package registries."""

_RULE = re.compile(r"^(?P<name>(\*\.)?[a-z0-9._-]+|\[[0-9a-f:]+\])(:(?P<port>\d{1,5}))?$")
_WEB = (80, 443)


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
        return cls(found["name"].strip("[]"), port)

    def allows(self, host: str, port: int) -> bool:
        if port != self.port and (self.port is not None or port not in _WEB):
            return False
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
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
