"""The network access of sandboxes, as a config describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from sandboxes.access import REGISTRIES, Access, HostRule


def _is_rule(text: str) -> str:
    HostRule.parse(text)
    return text


Host = Annotated[str, AfterValidator(_is_rule)]
Network = Literal["none", "registries", "open"] | tuple[Host, ...]
"""``none``; ``registries`` for the public package registries; a list of hosts; or ``open`` for
everything that the engine's own network can reach."""


def access_to(network: Network) -> Access:
    """The access that a backend is asked to allow."""
    if network in ("none", "open"):
        return Access(everything=network == "open")
    hosts = REGISTRIES if network == "registries" else network
    return Access(tuple(HostRule.parse(host) for host in hosts))
