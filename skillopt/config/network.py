"""What sandboxes may reach of the outside, as a config says it, and the rules that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator

from sandboxes.proxy import REGISTRIES, HostRule
from sandboxes.relay import PROXY_PORT


def _is_rule(text: str) -> str:
    HostRule.parse(text)
    return text


Host = Annotated[str, AfterValidator(_is_rule)]
Network = Literal["none", "registries", "open"] | tuple[Host, ...]
"""``none``; ``registries`` for the public package registries; a list of hosts; ``open`` for
everything that the engine's own network reaches."""


def rules_of(network: Network) -> Sequence[HostRule]:
    """The allow-list of the proxy; empty where there is none."""
    if network in ("none", "open"):
        return ()
    hosts = REGISTRIES if network == "registries" else network
    return tuple(HostRule.parse(host) for host in hosts)


def proxy_variables(network: Network) -> Mapping[str, str]:
    """By which programs in a sandbox find the proxy."""
    if not rules_of(network):
        return {}
    address, here = f"http://127.0.0.1:{PROXY_PORT}", "127.0.0.1,localhost"
    values = {"http_proxy": address, "https_proxy": address, "no_proxy": here}
    return values | {name.upper(): value for name, value in values.items()}
